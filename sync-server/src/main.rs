//! The binary: arguments, then the library.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_server::auth::keys::Keys;
use sync_server::auth::token::Tokens;
use sync_server::bus::{Access, BusMessage, redis};
use sync_server::store::postgres::{self, PostgresStore};
use sync_server::store::sqlite;
use sync_server::{Caller, Config, Server, config, probe, seed as seeds, telemetry};
use tokio::net::TcpListener;

/// Rejoin's sync server: phones push what they wrote offline and pull what others wrote, over one durable log a space.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM
    ///
    /// Creates what is missing in the data folder (the database, the keys) and prints one line with the bound address to
    /// standard output, as soon as requests are taken. Logs go to standard error, one JSON line a request.
    Serve(Serve),
    /// Bring the database to this version's schema, and say what was done
    ///
    /// On the embedded store `serve` does so by itself. On Postgres it only makes sure: migrate first, then start nodes of
    /// the new version; those of the old one keep running on the new schema. Give this command the database's own URL, not
    /// that of a pooler.
    Migrate(Migrate),
    /// Print an access token for development
    ///
    /// The token alone goes to standard output, so that it can be taken into a variable; the device's id goes to standard
    /// error. It works while the server runs, and needs nothing but the key in the data folder.
    Token(Token),
    /// Say who may enter which space, for development
    #[command(subcommand)]
    Members(Members),
    /// Fill a store with users, shared spaces and documents that several devices wrote, for trying out and load tests
    ///
    /// Needs no running server and works beside one. The same amounts and seed give the same data: doing it twice adds
    /// nothing, and one that was stopped is completed. Another seed, or other amounts, add more spaces.
    Seed(Amounts),
    /// Make the two key files that all nodes need, in a folder to be mounted read-only
    ///
    /// What is there already stays. Prints the id of the signing key, by which tokens name it.
    Keys {
        /// The folder; it is created where it is missing
        folder: PathBuf,
    },
    /// Ask a running server whether it is ready, for health checks
    ///
    /// Ends with 0 if it takes requests, else with 1 and the reason on standard error.
    Health {
        /// Where the server listens; plain HTTP
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8787")]
        url: String,
    },
    /// Print the default configuration, with the reason for each key
    Config,
}

/// Where the server lives.
#[derive(Args)]
struct Place {
    /// Configuration file; see `sync-server config`
    #[arg(long, env = "REJOIN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder [default: ./data]
    #[arg(long, env = "REJOIN_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Folder with the keys [default: the data folder]
    #[arg(long, env = "REJOIN_KEYS", value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Postgres, instead of the embedded store in the data folder
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Args)]
struct Migrate {
    #[command(flatten)]
    place: Place,
    /// The keys were replaced on purpose: from now on, nodes of this Postgres database must have the ones given here
    #[arg(long)]
    accept_keys: bool,
}

/// What goes between nodes.
#[derive(Args)]
struct Between {
    /// Redis, for more than one node
    // The URL may hold a password: help is not to show what the environment has.
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: Option<String>,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    between: Between,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8787]
    #[arg(long, env = "REJOIN_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Prepare statements: cheaper commits, where nothing that pools by transaction stands before the database
    #[arg(long, env = "DATABASE_PREPARE")]
    database_prepare: bool,
    /// A replica of the Postgres database, for long reads
    #[arg(long, env = "DATABASE_READ_URL", hide_env_values = true, value_name = "URL")]
    database_read_url: Option<String>,
    /// What to log: a level, or targets with levels [default: info]
    #[arg(long, env = "REJOIN_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Args)]
struct Token {
    #[command(flatten)]
    place: Place,
    /// Name of the user
    #[arg(long)]
    user: String,
    /// Id of the device (a UUID), or `new` for one that has none yet
    #[arg(long, value_name = "new|UUID", value_parser = device)]
    device: DeviceChoice,
    /// How long it is valid: a number with s, m, h or d
    #[arg(long, default_value = "30d", value_parser = lifetime)]
    ttl: Duration,
}

#[derive(Args)]
struct Amounts {
    #[command(flatten)]
    place: Place,
    /// Users; each has a personal space
    #[arg(long, default_value_t = 10)]
    users: u32,
    /// Shared spaces, with an owner, writers and readers
    #[arg(long, default_value_t = 5)]
    spaces: u32,
    /// Documents of each space: notes, lists and tallies
    #[arg(long, default_value_t = 50)]
    documents: u32,
    /// Changes of each document
    #[arg(long, default_value_t = 20)]
    changes: u32,
    /// What everything that looks like chance follows from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Subcommand)]
enum Members {
    /// Set what a user may do in a space; the space is created where it does not exist
    ///
    /// With Redis, live connections hear of it at once, else within half a minute.
    Set {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        between: Between,
        /// Id of the space (a UUID)
        #[arg(long, value_name = "UUID")]
        space: SpaceId,
        /// Name of the user
        #[arg(long)]
        user: String,
        /// What the user may do; `none` ends the membership
        #[arg(long)]
        role: RoleChoice,
    },
}

#[derive(Clone)]
enum DeviceChoice {
    New,
    Known(DeviceId),
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleChoice {
    Reader,
    Writer,
    Owner,
    None,
}

impl RoleChoice {
    fn role(self) -> Option<Role> {
        match self {
            Self::Reader => Some(Role::Reader),
            Self::Writer => Some(Role::Writer),
            Self::Owner => Some(Role::Owner),
            Self::None => None,
        }
    }
}

impl Place {
    fn config(&self) -> Result<Config, config::ConfigError> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if self.keys.is_some() {
            config.keys.clone_from(&self.keys);
        }
        if let Some(url) = &self.database_url {
            config.database.url = Some(url.clone().into());
        }
        Ok(config)
    }
}

impl Between {
    fn configure(self, config: &mut Config) {
        if let Some(url) = self.redis_url {
            config.redis.url = Some(url.into());
        }
    }
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    if text == "new" {
        return Ok(DeviceChoice::New);
    }
    text.parse().map(DeviceChoice::Known).map_err(|_| "must be `new` or a UUID".to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number with s, m, h or d, such as 15m or 30d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve(arguments),
        Command::Migrate(arguments) => migrate(&arguments),
        Command::Token(arguments) => token(&arguments),
        Command::Members(Members::Set { place, between, space, user, role }) => {
            set_member(&place, between, Access { space, user }, role.role())
        }
        Command::Seed(arguments) => seed(&arguments),
        Command::Keys { folder } => keys(&folder),
        Command::Health { url } => probe::is_ready(&url).map_err(Into::into),
        Command::Config => print(config::DEFAULTS),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sync-server: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

/// To standard output and out of the buffer: a parent process may be waiting for it.
fn print(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[tokio::main]
async fn serve(arguments: Serve) -> Done {
    let mut config = arguments.place.config()?;
    arguments.between.configure(&mut config);
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    config.database.prepare |= arguments.database_prepare;
    if let Some(url) = arguments.database_read_url {
        config.database.read_url = Some(url.into());
    }
    if let Some(filter) = arguments.log {
        config.log.filter = filter;
    }
    telemetry::init(&config.log.filter)?;
    let shutdown = stop_signal()?;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let mut shutdown = pin!(shutdown);
    let server = tokio::select! {
        server = Server::builder().config(config).build() => server?,
        // While it waits for its database.
        () = &mut shutdown => return Ok(()),
    };
    print(&format!("listening on http://{address}\n"))?;
    server.serve(listener, shutdown).await;
    Ok(())
}

#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>, std::io::Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("shutting down");
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()>, std::io::Error> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "cannot wait for ctrl-c");
            std::future::pending::<()>().await;
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn migrate(arguments: &Migrate) -> Done {
    let config = arguments.place.config()?;
    let (applied, version) = if config.database.url.is_some() {
        let migrated = postgres::migrate(&config.database).await?;
        if arguments.accept_keys {
            let ids = Keys::open(config.keys_folder())?.ids();
            PostgresStore::accept_keys(&config.database, &ids).await?;
            print(&format!("nodes must have signing key {} and receipt key {}\n", ids.signing, ids.receipts))?;
        }
        (migrated.applied, migrated.version)
    } else {
        std::fs::create_dir_all(&config.data)?;
        let migrated = sqlite::migrate(&config.data)?;
        (migrated.applied, migrated.version)
    };
    for name in &applied {
        print(&format!("applied {name}\n"))?;
    }
    print(&format!("the schema is at version {version}\n"))
}

fn token(arguments: &Token) -> Done {
    let config = arguments.place.config()?;
    let device = match arguments.device {
        DeviceChoice::Known(device) => device,
        DeviceChoice::New => {
            let mut random = [0; 16];
            getrandom::fill(&mut random)?;
            DeviceId::from_random(random)
        }
    };
    let tokens = Tokens::new(Keys::open(config.keys_folder())?.signing, &config.token);
    let caller = Caller { user: arguments.user.clone(), device };
    let token = tokens.issue(&caller, arguments.ttl)?;
    eprintln!("user           {}", caller.user);
    eprintln!("device         {device}");
    eprintln!("personal space {}", SpaceId::personal(&caller.user));
    print(&format!("{token}\n"))
}

#[tokio::main(flavor = "current_thread")]
async fn set_member(place: &Place, between: Between, access: Access, role: Option<Role>) -> Done {
    let mut config = place.config()?;
    between.configure(&mut config);
    let store = sync_server::open_store(&config, &Keys::open(config.keys_folder())?).await?;
    store.set_role(access.space, &access.user, role).await?;
    store.close().await?;
    let Some(url) = &config.redis.url else { return Ok(()) };
    if let Err(error) = redis::announce(url, &config.redis, &BusMessage::Access(access)).await {
        // It is done, and nodes find out by themselves.
        eprintln!("sync-server: set, but live connections hear of it within half a minute only: {error}");
    }
    Ok(())
}

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn seed(arguments: &Amounts) -> Done {
    let config = arguments.place.config()?;
    let store = sync_server::open_store(&config, &Keys::open(config.keys_folder())?).await?;
    let &Amounts { users, spaces, documents, changes, seed, .. } = arguments;
    let amounts = seeds::Amounts { users, spaces, documents, changes, seed };
    let mut told = Instant::now();
    let seeded = seeds::seed(&*store, &amounts, |progress| {
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            eprintln!("space {} of {spaces}: {} of {documents} documents", progress.space, progress.documents);
        }
    });
    let seeded = seeded.await;
    store.close().await?;
    print(&seeded?.to_string())
}

fn keys(folder: &Path) -> Done {
    let keys = Keys::open(folder)?;
    print(&format!("{}\n", keys.signing.id()))
}
