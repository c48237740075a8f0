//! The server's secrets: made on first start, kept in files of the data folder, never in the database.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use sync_core::id::Hash;
use sync_core::log::ReceiptKey;

use super::sessions::RefreshKey;

/// The file of the key that signs tokens.
pub const SIGNING_KEY: &str = "signing-key.pem";
/// The file of the key of receipts.
pub const RECEIPT_KEY: &str = "receipt.key";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key file cannot be read or written.
    #[error("key file {file}: {error}")]
    File {
        /// Which file.
        file: String,
        /// Why not.
        error: io::Error,
    },
    /// A key file holds something else.
    #[error("{0} does not hold a valid key; move it away to have a new one made")]
    Invalid(&'static str),
    /// The operating system has no random numbers.
    #[error("no random numbers to make a key of")]
    Random,
}

/// A P-256 key that signs tokens.
pub struct SigningKey {
    pub(super) id: String,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

/// What a node's keys go by. The ids tell nothing of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIds {
    /// Of the key that signs tokens.
    pub signing: String,
    /// Of the key that signs receipts.
    pub receipts: String,
}

/// All secrets of a server.
pub struct Keys {
    /// Signs tokens.
    pub signing: SigningKey,
    /// Signs receipts.
    pub receipts: ReceiptKey,
    /// Makes refresh tokens.
    pub refresh: RefreshKey,
    receipts_id: String,
}

impl Keys {
    /// Reads the keys in a folder; what is missing is made. Processes that start at once get the same keys. A folder that
    /// has both is only read, so it may be a mounted secret.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        let (pem, secret) = match (read(folder, SIGNING_KEY)?, read(folder, RECEIPT_KEY)?) {
            (Some(pem), Some(secret)) => (pem, secret),
            _ => make_missing(folder)?,
        };
        let secret: [u8; 32] = secret.try_into().map_err(|_| KeyError::Invalid(RECEIPT_KEY))?;
        let receipts_id = id(b"rejoin receipt key", &secret);
        let (signing, refresh) = (SigningKey::from_pem(&pem)?, RefreshKey::derive(&secret));
        Ok(Self { signing, receipts: ReceiptKey::new(secret), refresh, receipts_id })
    }

    /// What they go by, for comparing them with those of other nodes.
    pub fn ids(&self) -> KeyIds {
        KeyIds { signing: self.signing.id.clone(), receipts: self.receipts_id.clone() }
    }
}

impl SigningKey {
    /// From PKCS #8 in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let invalid = KeyError::Invalid(SIGNING_KEY);
        let Ok(encoding) = EncodingKey::from_ec_pem(pem) else { return Err(invalid) };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, encoding.as_bytes());
        let Ok(pair) = pair else { return Err(invalid) };
        let public = pair.public_key().as_ref();
        Ok(Self { id: id(b"rejoin key", public), decoding: DecodingKey::from_ec_der(public), encoding })
    }

    /// What tokens name it by.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A name that tells nothing of what it is made of: 64 bits of a hash.
fn id(tag: &[u8], of: &[u8]) -> String {
    let mut id = Hash::of(&[tag, of]).to_string();
    id.truncate(16);
    id
}

/// A new signing key, as its file holds it.
pub fn new_signing_key() -> Result<Vec<u8>, KeyError> {
    let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|pair| pair.to_pkcs8v1());
    let encoded = STANDARD.encode(document.map_err(|_| KeyError::Random)?);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")).into_bytes())
}

fn new_receipt_key() -> Result<Vec<u8>, KeyError> {
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(|_| KeyError::Random)?;
    Ok(secret)
}

fn failed(name: &str) -> impl Fn(io::Error) -> KeyError {
    move |error| KeyError::File { file: name.to_owned(), error }
}

fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
    match fs::read(folder.join(name)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(name)(error)),
    }
}

fn make_missing(folder: &Path) -> Result<(Vec<u8>, Vec<u8>), KeyError> {
    let name = folder.display().to_string();
    let of_folder = failed(&name);
    create_private_folder(folder).map_err(&of_folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("keys.lock"));
    let lock = lock.map_err(&of_folder)?;
    lock.lock().map_err(&of_folder)?;
    Ok((read_or_make(folder, SIGNING_KEY, new_signing_key)?, read_or_make(folder, RECEIPT_KEY, new_receipt_key)?))
}

/// The caller holds the folder's lock. The file appears whole or not at all, also when the machine stops half-way.
fn read_or_make(folder: &Path, name: &str, make: fn() -> Result<Vec<u8>, KeyError>) -> Result<Vec<u8>, KeyError> {
    if let Some(content) = read(folder, name)? {
        return Ok(content);
    }
    let content = make()?;
    let new = folder.join(format!("{name}.new"));
    write_private(&new, &content).map_err(failed(name))?;
    fs::rename(&new, folder.join(name)).map_err(failed(name))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(name))?;
    Ok(content)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_start_at_once_get_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Keys::open(folder.path()).unwrap().signing.id;
        let ids: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_the_keys() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Keys::open(folder.path()).unwrap();
        for name in [SIGNING_KEY, RECEIPT_KEY] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_damaged_key_is_an_error_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        Keys::open(folder.path()).unwrap();
        for (name, content) in [(SIGNING_KEY, "not a key"), (RECEIPT_KEY, "short")] {
            let path = folder.path().join(name);
            let good = fs::read(&path).unwrap();
            fs::write(&path, content).unwrap();
            assert!(matches!(Keys::open(folder.path()), Err(KeyError::Invalid(file)) if file == name));
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            fs::write(&path, good).unwrap();
        }
    }
}
