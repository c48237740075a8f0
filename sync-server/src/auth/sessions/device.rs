//! What a device says of itself, as far as it is taken.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sync_core::id::DeviceId;
use sync_core::wire::account::NewDevice;

use crate::error::ApiError;
use crate::store::devices::Description;

const NAME_CHARACTERS_MAX: usize = 100;
const WORD_BYTES_MAX: usize = 32;

/// The device's id, where it has one already, and what it says of itself.
pub(super) fn description(device: NewDevice) -> Result<(Option<DeviceId>, Description), ApiError> {
    let NewDevice { device, name, platform, app_version, public_key } = device;
    let description = Description {
        name: name_of_device(name)?,
        platform: platform_of(platform)?,
        app_version: self::app_version(app_version)?,
        public_key: public_key.as_deref().map(public_key_of).transpose()?,
    };
    Ok((device, description))
}

/// What its owner calls it.
pub(crate) fn name_of_device(name: String) -> Result<String, ApiError> {
    let fine = is_text(&name, NAME_CHARACTERS_MAX) && name.trim().len() == name.len();
    let must = "1 to 100 characters, none of them invisible, no space at either end";
    if fine { Ok(name) } else { Err(ApiError::invalid("name", must)) }
}

fn platform_of(platform: String) -> Result<String, ApiError> {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fine = (1..=WORD_BYTES_MAX).contains(&platform.len()) && platform.bytes().all(word);
    if fine { Ok(platform) } else { Err(ApiError::invalid("platform", "a word of a-z, 0-9 and -, at most 32")) }
}

/// The app's version.
pub(super) fn app_version(version: String) -> Result<String, ApiError> {
    if is_text(&version, WORD_BYTES_MAX) {
        Ok(version)
    } else {
        Err(ApiError::invalid("app_version", "1 to 32 characters, such as 2.4.1"))
    }
}

fn public_key_of(text: &str) -> Result<[u8; 32], ApiError> {
    let key = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| ApiError::invalid("public_key", "32 bytes in base64url without padding"))
}

fn is_text(text: &str, characters_max: usize) -> bool {
    (1..=characters_max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}
