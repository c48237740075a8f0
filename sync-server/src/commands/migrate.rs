//! `sync-server migrate`: brings the database to this version's schema.

use clap::Args;
use sync_server::auth::keys::Keys;
use sync_server::store::postgres::{self, PostgresStore};
use sync_server::store::sqlite;

use super::place::Place;
use super::{Done, print};

#[derive(Args)]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    /// The keys were replaced on purpose: from now on, nodes of this Postgres database must have the ones given here
    #[arg(long)]
    accept_keys: bool,
}

#[tokio::main(flavor = "current_thread")]
pub async fn migrate(arguments: &Migrate) -> Done {
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
