//! Tokens of the app's own: it is asked for one shortly before the last runs out, and when the server does not take it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::background;
use super::observe::Watch;
use crate::client::{Client, lock};

/// A provider that does not answer for so long has failed: it is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries, and how often one wish is tried: the session asks anew when it needs a token.
const PAUSE: Duration = Duration::from_secs(2);
const TRIES_MAX: u32 = 5;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Error, thiserror::Error)]
pub enum TokenProviderError {
    /// Not now: it is asked again. Whatever the provider throws counts as this.
    #[error("no token now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// Nobody is signed in any more: it is not asked again until the app sets a token.
    #[error("signed out")]
    SignedOut,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for TokenProviderError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unavailable { reason: error.reason }
    }
}

/// Gets access tokens from the app's own identity provider.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait TokenProvider: Send + Sync {
    /// A token that holds, other than `refused`, which the server did not take or which runs out. Called by one at a time.
    async fn token(&self, refused: Option<String>) -> Result<String, TokenProviderError>;
}

struct Provider {
    client: Mutex<Option<Client>>,
    source: Arc<dyn TokenProvider>,
    busy: AtomicBool,
    flight: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// Asks for tokens as long as what it gives lives.
pub(super) fn attach(client: &Client, provider: Arc<dyn TokenProvider>) -> Arc<Watch> {
    let provider = Arc::new(Provider {
        client: Mutex::new(Some(client.clone())),
        source: provider,
        busy: AtomicBool::new(false),
        flight: Mutex::new(None),
    });
    let asking = provider.clone();
    let subscription = client.on_token_wanted(move || asking.want());
    Watch::new((subscription, End(provider)))
}

/// Gives up what is under way, and lets go of the client.
struct End(Arc<Provider>);

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.0.client).take();
        if let Some(flight) = lock(&self.0.flight).take() {
            flight.abort();
        }
    }
}

impl Provider {
    /// One at a time: whoever wants a token meanwhile gets the one that comes.
    fn want(self: &Arc<Self>) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        match background::spawn(async move { this.ask().await }) {
            Ok(flight) => *lock(&self.flight) = Some(flight),
            Err(_) => self.busy.store(false, Ordering::Release),
        }
    }

    async fn ask(&self) {
        let _idle = Idle(&self.busy);
        for _ in 0..TRIES_MAX {
            let Some(client) = lock(&self.client).clone() else { return };
            let refused = client.token();
            drop(client);
            match tokio::time::timeout(PATIENCE, self.source.token(refused.clone())).await {
                // The same one again would be refused again: the provider has kept it too long.
                Ok(Ok(token)) if Some(&token) == refused.as_ref() => {
                    tracing::warn!("the token provider gave a token that was refused");
                }
                Ok(Ok(token)) => {
                    if let Some(client) = lock(&self.client).clone() {
                        client.set_token(token);
                    }
                    return;
                }
                Ok(Err(TokenProviderError::SignedOut)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the token provider failed"),
                Err(_) => tracing::warn!("the token provider does not answer"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Also when the flight is given up.
struct Idle<'a>(&'a AtomicBool);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
