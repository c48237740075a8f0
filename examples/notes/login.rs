//! Who is signed in: remembered in the store folder, in a file that only its owner can read.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sync_client_ffi::account::{Account, AccountError, CredentialsFile, Refresher};
use sync_client_ffi::{Client, ClientBuilder, DeviceId};

use crate::Access;

/// The file, in the store folder.
const FILE: &str = "login.json";
/// The notes themselves, in the store folder.
const STORE_FILE: &str = "notes.sqlite";

/// What is remembered, or given on the command line.
pub enum Login {
    /// A device that is signed in; its tokens are renewed.
    Session(Refresher),
    /// For development: a token that `sync-server token` printed.
    Token {
        /// The server's address.
        server: String,
        /// The access token.
        token: String,
    },
    /// Nobody (any more): what is in the folder can be read and written, and goes nowhere.
    Nobody,
}

/// How a token for development is remembered; what a session needs has other names.
#[derive(Deserialize)]
struct Remembered {
    server: String,
    token: String,
}

impl Login {
    /// What the command line says, and where it is silent, what is remembered.
    pub fn find(folder: &Path, access: &Access) -> Result<Self, Box<dyn Error>> {
        let remembered = remembered(folder)?;
        if let Some(token) = given_token(access)? {
            let server = access.server.clone().or(remembered.map(|remembered| remembered.server));
            let server = server.ok_or("which server? Pass --server http://127.0.0.1:8787")?;
            return Ok(Self::Token { server, token });
        }
        if let Some(Remembered { server, token }) = remembered {
            return Ok(Self::Token { server: access.server.clone().unwrap_or(server), token });
        }
        match Refresher::open(file(folder)) {
            Ok(refresher) => Ok(Self::Session(refresher)),
            Err(AccountError::NotSignedIn) if store(folder).exists() => Ok(Self::Nobody),
            Err(AccountError::NotSignedIn) => Err(format!(
                "nobody is signed in for {0}: run `notes --store {0} login --server URL` once, or `signup` if you have no \
                 account yet",
                folder.display()
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the server is.
    pub fn server(&self) -> Option<String> {
        match self {
            Self::Session(refresher) => Some(refresher.credentials().server),
            Self::Token { server, .. } => Some(server.clone()),
            Self::Nobody => None,
        }
    }

    /// The account routes, as this user.
    pub fn account(&self) -> Result<Account, AccountError> {
        match self {
            Self::Session(refresher) => Ok(refresher.account()),
            Self::Token { server, token } => Account::with_token(server, token.as_str()),
            Self::Nobody => Err(AccountError::NotSignedIn),
        }
    }

    /// A client for this user's notes.
    pub fn client(&self, folder: &Path) -> ClientBuilder {
        let builder = Client::builder(store(folder)).app(std::env::consts::OS, env!("CARGO_PKG_VERSION"));
        match self {
            Self::Session(refresher) => builder.signed_in(refresher),
            Self::Token { server, token } => builder.server(server.as_str()).token(token.as_str()),
            Self::Nobody => builder,
        }
    }
}

/// Where the notes are.
pub fn store(folder: &Path) -> PathBuf {
    folder.join(STORE_FILE)
}

/// Whose notes are in the folder, on which device; `None` if there are none.
pub fn owner(folder: &Path) -> Result<Option<(String, DeviceId)>, Box<dyn Error>> {
    if !store(folder).exists() {
        return Ok(None);
    }
    let client = Client::builder(store(folder)).open()?;
    Ok(Some((client.user(), client.device())))
}

/// Where a session's tokens are kept.
pub fn file(folder: &Path) -> CredentialsFile {
    CredentialsFile::new(folder.join(FILE))
}

/// Remembers a token for development.
pub fn remember_token(folder: &Path, server: &str, token: &str) -> Result<(), Box<dyn Error>> {
    let bytes = serde_json::to_vec_pretty(&serde_json::json!({ "server": server, "token": token }))?;
    Ok(file(folder).write(&bytes)?)
}

/// The token that the command line names.
pub fn given_token(access: &Access) -> Result<Option<String>, Box<dyn Error>> {
    if let Some(file) = &access.token_file {
        let token = fs::read_to_string(file).map_err(|error| format!("the token in {}: {error}", file.display()))?;
        return Ok(Some(token.trim().to_owned()));
    }
    Ok(access.token.as_ref().map(|token| token.trim().to_owned()))
}

fn remembered(folder: &Path) -> Result<Option<Remembered>, Box<dyn Error>> {
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}
