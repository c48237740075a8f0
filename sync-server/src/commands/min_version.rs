//! `sync-server min-version`: which versions of apps are too old to be served.

use clap::Subcommand;
use sync_server::auth::keys::Keys;
use sync_server::store::registry::Registry;
use sync_server::store::versions::{AppMinimum, MINIMUMS_MAX};
use sync_server::versions::{NotAVersion, PLATFORM_BYTES_MAX, Version, is_platform};
use sync_server::{Storage, open_storage};
use url::Url;

use super::place::Place;
use super::{Done, print};

/// A link is shown to people, and sent with every refusal.
const URL_BYTES_MAX: usize = 2048;

#[derive(Subcommand)]
pub enum MinVersion {
    /// Serve no older version of a platform's apps
    ///
    /// Running nodes look it up every few seconds (`versions.poll_ms`); live connections of older apps are closed then.
    Set {
        #[command(flatten)]
        place: Place,
        /// As the apps call it in X-App-Platform: ios, android, macos, windows, linux, web, …
        #[arg(long, value_parser = platform)]
        platform: String,
        /// The oldest version that is served, such as 2.0.0
        #[arg(long, value_parser = version)]
        version: Version,
        /// Where an older app is updated: what it opens when its user agrees
        #[arg(long, value_name = "URL", value_parser = update_url)]
        update_url: Url,
    },
    /// Print what is set: a line a platform, with the version and where to update
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Serve any version of a platform's apps again
    Clear {
        #[command(flatten)]
        place: Place,
        /// Which platform
        #[arg(long, value_parser = platform)]
        platform: String,
    },
}

fn platform(text: &str) -> Result<String, String> {
    let must = || format!("must be a word of a-z, 0-9 and -, at most {PLATFORM_BYTES_MAX}");
    if is_platform(text) { Ok(text.to_owned()) } else { Err(must()) }
}

fn version(text: &str) -> Result<Version, NotAVersion> {
    text.parse()
}

/// Apps open it without asking what it is, so it is a page of the web, and not what some other app is called by.
fn update_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && text.len() <= URL_BYTES_MAX);
    url.ok_or_else(|| format!("must be an https URL of at most {URL_BYTES_MAX} bytes"))
}

#[tokio::main(flavor = "current_thread")]
pub async fn min_version(command: MinVersion) -> Done {
    let (MinVersion::Set { place, .. } | MinVersion::List { place } | MinVersion::Clear { place, .. }) = &command;
    let config = place.config()?;
    let Storage { store, registry, .. } = open_storage(&config, &Keys::open(config.keys_folder())?).await?;
    let done = work(&*registry, &command).await;
    store.close().await?;
    done
}

async fn work(registry: &dyn Registry, command: &MinVersion) -> Done {
    match command {
        MinVersion::Set { platform, version, update_url, .. } => {
            let (platform, minimum, update_url) = (platform.clone(), version.to_string(), update_url.to_string());
            if registry.set_app_minimum(AppMinimum { platform, minimum, update_url }).await? {
                return Ok(());
            }
            Err(format!("there are {MINIMUMS_MAX} platforms already; clear one first").into())
        }
        MinVersion::List { .. } => {
            let all = registry.app_minimums().await?;
            let lines = all
                .iter()
                .map(|AppMinimum { platform, minimum, update_url }| format!("{platform} {minimum} {update_url}\n"));
            print(&lines.collect::<String>())
        }
        MinVersion::Clear { platform, .. } => {
            if registry.clear_app_minimum(platform).await? {
                return Ok(());
            }
            Err(format!("nothing is set for {platform}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_sent_to_a_page_of_the_web() {
        let of_length = |length: usize| format!("https://example.com/{}", "a".repeat(length - 20));
        assert!(update_url(&of_length(URL_BYTES_MAX)).is_ok());
        for wrong in [&of_length(URL_BYTES_MAX + 1), "http://example.com/", "javascript:alert(1)", "example.com", ""] {
            assert!(update_url(wrong).is_err(), "{wrong}");
        }
    }
}
