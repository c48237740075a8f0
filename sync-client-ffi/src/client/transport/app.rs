//! What the app says of itself to the server, and what the server says of the app.

use std::sync::{Mutex, PoisonError};

use reqwest::RequestBuilder;
use sync_core::wire::{ErrorCode, ErrorResponse};

const PLATFORM: &str = "x-app-platform";
const VERSION: &str = "x-app-version";
/// A link that is longer is not kept.
const URL_BYTES_MAX: usize = 4096;

/// The app that this library is part of.
#[derive(Debug, Default)]
pub(in crate::client) struct App {
    /// Its platform and version.
    named: Option<(String, String)>,
    update_url: Mutex<Option<String>>,
}

impl App {
    pub(in crate::client) fn new(named: Option<(String, String)>) -> Self {
        Self { named, update_url: Mutex::default() }
    }

    /// The request, with what the app is.
    pub(super) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.named {
            Some((platform, version)) => request.header(PLATFORM, platform).header(VERSION, version),
            None => request,
        }
    }

    /// Remembers where the app is updated, if that is what the server says. It opens in a browser, so it has to be of the web.
    pub(super) fn hear(&self, error: &ErrorResponse) {
        let url = error.update_url.as_ref().filter(|_| error.code == ErrorCode::UpgradeRequired);
        if let Some(url) = url.filter(|url| url.starts_with("https://") && url.len() <= URL_BYTES_MAX) {
            *self.update_url.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.clone());
        }
    }

    pub(super) fn update_url(&self) -> Option<String> {
        self.update_url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the server would take that for a platform and a version.
pub(in crate::client) fn is_app(platform: &str, version: &str) -> bool {
    let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let of_a_version = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    let fits = |text: &str, fits: fn(u8) -> bool| (1..=32).contains(&text.len()) && text.bytes().all(fits);
    fits(platform, of_a_name) && fits(version, of_a_version)
}
