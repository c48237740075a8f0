//! Which server, and as whom: remembered in the store folder, in a file that only its owner can read.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sync_client_ffi::Client;

use crate::Access;

/// The file, in the store folder.
const FILE: &str = "login.json";
/// The notes themselves, in the store folder.
pub const STORE_FILE: &str = "notes.sqlite";

/// What is remembered.
#[derive(Serialize, Deserialize)]
pub struct Login {
    /// The server's address.
    pub server: String,
    /// The access token.
    pub token: String,
}

/// Remembers what the command line says, after a look at whether it is any good.
pub fn login(folder: &Path, access: &Access) -> Result<(), Box<dyn Error>> {
    let known = read(folder)?;
    let server = access.server.clone().or_else(|| known.as_ref().map(|login| login.server.clone()));
    let token = given_token(access)?.or_else(|| known.map(|login| login.token));
    let server = server.ok_or("which server? Pass --server http://127.0.0.1:8787")?;
    let token = token.ok_or(
        "with which token? On the server's machine `sync-server token --user ann --device new` prints one; \
         pass it with --token or --token-file",
    )?;
    fs::create_dir_all(folder)?;
    // Opening the store says at once if the token is none, or of somebody else than the notes that are here.
    let client = Client::builder(folder.join(STORE_FILE)).server(server.as_str()).token(token.as_str()).open()?;
    write(folder, &Login { server, token })?;
    println!("{} on device {}; notes are kept in {}", client.user(), client.device(), folder.display());
    Ok(())
}

/// What the command line says, and where it is silent, what is remembered.
pub fn find(folder: &Path, access: &Access) -> Result<Login, Box<dyn Error>> {
    let known = read(folder)?;
    let token = given_token(access)?;
    let (known_server, known_token) = known.map(|login| (login.server, login.token)).unzip();
    match (access.server.clone().or(known_server), token.or(known_token)) {
        (Some(server), Some(token)) => Ok(Login { server, token }),
        _ => Err(format!(
            "nobody is logged in for {}: run `notes --store {} login --server URL --token-file FILE` once",
            folder.display(),
            folder.display()
        )
        .into()),
    }
}

fn given_token(access: &Access) -> Result<Option<String>, Box<dyn Error>> {
    if let Some(file) = &access.token_file {
        let token = fs::read_to_string(file).map_err(|error| format!("the token in {}: {error}", file.display()))?;
        return Ok(Some(token.trim().to_owned()));
    }
    Ok(access.token.as_ref().map(|token| token.trim().to_owned()))
}

fn read(folder: &Path) -> Result<Option<Login>, Box<dyn Error>> {
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            let login = serde_json::from_slice(&bytes);
            Ok(Some(login.map_err(|error| format!("{} is damaged ({error}): log in again", path.display()))?))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

fn write(folder: &Path, login: &Login) -> Result<(), Box<dyn Error>> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(folder.join(FILE))?;
    file.write_all(&serde_json::to_vec_pretty(login)?)?;
    Ok(file.sync_all()?)
}
