//! Signing up, in and out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use sync_client_ffi::DeviceId;
use sync_client_ffi::account::{Account, AccountError, Credentials, NewDevice, Proof, Refresher};

use crate::login::{self, Login};
use crate::{Access, Done, terminal};

/// What the server knows this app as, where a companion is let in.
const CLIENT_ID: &str = "notes";

/// How to sign in.
#[derive(Args)]
pub struct SignIn {
    /// Your e-mail address; asked for if it is not given
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A file with the password in its first line, or - for standard input; asked for if it is not given
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What this device is called in the list of your devices; the folder's name if it is not given
    #[arg(long, value_name = "NAME")]
    device_name: Option<String>,
}

impl SignIn {
    fn email(&self) -> Result<String, Box<dyn std::error::Error>> {
        match &self.email {
            Some(email) => Ok(email.clone()),
            None => terminal::ask("E-mail address", "which e-mail address? Pass --email ADDRESS"),
        }
    }

    fn device(&self, folder: &Path, device: Option<DeviceId>) -> NewDevice {
        let named = folder.file_name().map(|name| name.to_string_lossy().chars().take(100).collect());
        NewDevice {
            device,
            name: self.device_name.clone().or(named).unwrap_or_else(|| "notes".to_owned()),
            platform: std::env::consts::OS.to_owned(),
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: None,
        }
    }
}

/// Makes an account and signs in with it.
pub fn sign_up(folder: &Path, access: &Access, sign_in: &SignIn, display_name: Option<&str>) -> Done {
    let account = at_server(folder, access)?;
    let email = sign_in.email()?;
    let display_name = match display_name {
        Some(name) => name.to_owned(),
        None => terminal::ask("What others call you", "what do others call you? Pass --display-name NAME")?,
    };
    let password = terminal::password(sign_in.password_file.as_deref(), true)?;
    account.sign_up(&email, &password, &display_name)?;
    match prove(&account, folder, sign_in, email, password) {
        Err(error) if is_login_failed(&*error) => Err("the server does not say whether that address has an account \
            already, but that is not its password: sign in with `notes login`, or sign up with another address"
            .into()),
        done => done,
    }
}

/// Signs in; a token for development is remembered as it is.
pub fn sign_in(folder: &Path, access: &Access, sign_in: &SignIn) -> Done {
    if let Some(token) = login::given_token(access)? {
        let login = Login::find(folder, access)?;
        // Opening the store says at once if the token is none, or of somebody else than the notes that are here.
        let client = login.client(folder).open()?;
        login::remember_token(folder, &login.server().unwrap_or_default(), &token)?;
        println!("{} on device {}; notes are kept in {}", client.user(), client.device(), folder.display());
        return Ok(());
    }
    let account = at_server(folder, access)?;
    let email = sign_in.email()?;
    let password = terminal::password(sign_in.password_file.as_deref(), false)?;
    prove(&account, folder, sign_in, email, password)
}

fn prove(account: &Account, folder: &Path, sign_in: &SignIn, email: String, password: String) -> Done {
    let device = known_device(folder)?;
    let proof = Proof::Password { email, password: password.as_str().into() };
    let signed_in = account.sign_in(proof, sign_in.device(folder, device));
    keep(folder, signed_in.map_err(|error| explained(error, folder, device))?)
}

/// Shows a code, and waits until somebody types it where this user is signed in.
pub fn sign_in_by_code(folder: &Path, access: &Access, sign_in: &SignIn) -> Done {
    let account = at_server(folder, access)?;
    let device = known_device(folder)?;
    let new = sign_in.device(folder, device);
    let mut code = account.begin_companion(CLIENT_ID).map_err(|error| match error {
        AccountError::Server { .. } | AccountError::Invalid { .. } | AccountError::NotFound => {
            format!(
                "the server does not know this app as a companion: name a client `{CLIENT_ID}` in its [oauth] section"
            )
        }
        other => other.to_string(),
    })?;
    println!("On a device that is signed in: notes companion {}", code.user_code);
    println!("or in a browser: {}", code.verification_uri_complete.as_ref().unwrap_or(&code.verification_uri));
    let until = Instant::now() + Duration::from_secs(code.expires_in);
    while Instant::now() < until {
        std::thread::sleep(code.interval);
        match account.poll_companion(&mut code, &new) {
            Ok(None) | Err(AccountError::Offline | AccountError::Unavailable { .. }) => {}
            Ok(Some(credentials)) => return keep(folder, credentials),
            Err(error) => return Err(explained(error, folder, device)),
        }
    }
    Err(AccountError::CodeExpired.into())
}

/// Remembers who signed in, if the folder's notes are theirs.
fn keep(folder: &Path, credentials: Credentials) -> Done {
    std::fs::create_dir_all(folder)?;
    let account = Account::with_token(&credentials.server, credentials.access_token.0.as_str())?;
    let device = credentials.device;
    let fits = login::owner(folder)?.is_none_or(|(user, known)| user == credentials.user && known == device);
    if !fits {
        // It was registered for nothing.
        account.revoke_device(device).ok();
        return Err(other_owner(folder).into());
    }
    let refresher = Refresher::begin(login::file(folder), credentials)?;
    let client = Login::Session(refresher).client(folder).open()?;
    println!("signed in as {} on device {}; notes are kept in {}", client.user(), client.device(), folder.display());
    println!("next: `notes add \"Groceries\" --text milk`, `notes share` for notes with others");
    Ok(())
}

/// Signs out. The notes stay.
pub fn log_out(folder: &Path, access: &Access, all: bool) -> Done {
    match Login::find(folder, access)? {
        Login::Nobody => println!("nobody is signed in"),
        Login::Token { .. } => {
            sync_client_ffi::account::Keychain::clear(&login::file(folder))?;
            println!("the token is forgotten");
        }
        Login::Session(refresher) => {
            match refresher.account().log_out(all) {
                Err(AccountError::Offline) => {
                    let server = refresher.credentials().server;
                    return Err(
                        format!("{server} cannot be reached, so you are still signed in: try again later").into()
                    );
                }
                // Only somebody who is signed in can sign out the others, but here it is over.
                Err(error) if error.ends_session() => {
                    refresher.forget()?;
                    println!(
                        "this device was signed out before{}",
                        if all { "; sign in to sign out the others" } else { "" }
                    );
                }
                done => done?,
            }
            println!("signed out{}; notes stay in {}", if all { " on all devices" } else { "" }, folder.display());
        }
    }
    println!("`notes login` signs in again and goes on where you were");
    Ok(())
}

/// Lets in a device that shows a code, or says no to it.
pub fn companion(folder: &Path, access: &Access, code: &str, approve: bool) -> Done {
    let done = Login::find(folder, access)?.account()?.approve_companion(code, approve);
    done.map_err(|error| match error {
        AccountError::NotFound => format!("no device shows the code {code}: look again, or have it show a new one"),
        other => other.to_string(),
    })?;
    println!("{}", if approve { "it is let in, and signs in within seconds" } else { "it is turned away" });
    Ok(())
}

/// The server that is named, or was before.
fn at_server(folder: &Path, access: &Access) -> Result<Account, Box<dyn std::error::Error>> {
    let known = || Login::find(folder, access).ok().and_then(|login| login.server());
    let server = access.server.clone().or_else(known).ok_or("which server? Pass --server http://127.0.0.1:8787")?;
    Ok(Account::new(&server)?)
}

fn known_device(folder: &Path) -> Result<Option<DeviceId>, Box<dyn std::error::Error>> {
    Ok(login::owner(folder)?.map(|(_, device)| device))
}

fn other_owner(folder: &Path) -> String {
    format!(
        "the notes in {} are of another account or device: sign in with a folder of its own, as in `notes --store \
         notes-data/other login`",
        folder.display()
    )
}

/// What went wrong with signing in a device that the folder knows already.
fn explained(error: AccountError, folder: &Path, device: Option<DeviceId>) -> Box<dyn std::error::Error> {
    match error {
        AccountError::NotFound if device.is_some() => other_owner(folder).into(),
        AccountError::DeviceRevoked => format!(
            "this device was revoked, so nothing more can be sent from {0}: what is there stays readable (`notes --store {0} \
             list`). Sign in with a folder of its own, as in `notes --store notes-data/new login`, and copy over what was \
             not sent",
            folder.display()
        )
        .into(),
        other => other.into(),
    }
}

fn is_login_failed(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(AccountError::LoginFailed))
}
