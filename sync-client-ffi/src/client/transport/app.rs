//! What the app says of itself to the server, and what the server says of the app.

use std::sync::Mutex;

use reqwest::RequestBuilder;
use sync_core::wire::{ErrorCode, ErrorResponse};

use crate::client::lock;

const PLATFORM: &str = "x-app-platform";
const VERSION: &str = "x-app-version";
/// A link that is longer is not kept.
const URL_BYTES_MAX: usize = 4096;

/// The app that this library is part of. One for all that talk to the server in its name.
#[derive(Debug, Default)]
pub(in crate::client) struct App {
    /// Its platform and version.
    name: Mutex<Option<(String, String)>>,
    update_url: Mutex<Option<String>>,
}

impl App {
    /// Which app it is; one whose name is [none](is_app) stays what it was.
    pub(in crate::client) fn named(&self, platform: &str, version: &str) -> Result<(), BadApp> {
        if !is_app(platform, version) {
            return Err(BadApp);
        }
        *lock(&self.name) = Some((platform.to_owned(), version.to_owned()));
        Ok(())
    }

    /// The request, with what the app is.
    pub(in crate::client) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        self.headers().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// The headers that say so.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let name = lock(&self.name).clone();
        name.into_iter().flat_map(|(platform, version)| [(PLATFORM, platform), (VERSION, version)])
    }

    /// Remembers where the app is updated, if that is what the server says. It opens in a browser, so it has to be of the web.
    pub(in crate::client) fn hear(&self, error: &ErrorResponse) {
        let url = error.update_url.as_ref().filter(|_| error.code == ErrorCode::UpgradeRequired);
        if let Some(url) = url.filter(|url| url.starts_with("https://") && url.len() <= URL_BYTES_MAX) {
            *lock(&self.update_url) = Some(url.clone());
        }
    }

    pub(in crate::client) fn update_url(&self) -> Option<String> {
        lock(&self.update_url).clone()
    }
}

/// The server would not take that for an app's platform and version.
#[derive(Debug)]
pub(in crate::client) struct BadApp;

/// Whether the server would take that for a platform and a version.
fn is_app(platform: &str, version: &str) -> bool {
    let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let of_a_version = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    let fits = |text: &str, fits: fn(u8) -> bool| (1..=32).contains(&text.len()) && text.bytes().all(fits);
    fits(platform, of_a_name) && fits(version, of_a_version)
}
