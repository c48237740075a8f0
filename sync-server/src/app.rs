//! What handlers share.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sync_core::log::ReceiptKey;

use crate::audit::flags::Flags;
use crate::audit::keeper::Keeper;
use crate::auth::accounts::Accounts;
use crate::auth::callers::Callers;
use crate::auth::devices::DeviceGate;
use crate::auth::grants::clients::Clients;
use crate::auth::sessions::RefreshKey;
use crate::clock::Clock;
use crate::compaction::Compactor;
use crate::config::{self, Http};
use crate::live::Live;
use crate::router::address::Addresses;
use crate::router::gate::Gate;
use crate::router::limit::Limits;
use crate::router::observe::RequestIds;
use crate::store::Store;
use crate::store::registry::Registry;
use crate::validation::Validator;
use crate::versions::Manifest;
use crate::writer::Writer;

/// The server's parts, behind one pointer.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Arc<Parts>);

/// The server's parts.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Writer,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clock: Clock,
    pub(crate) callers: Callers,
    pub(crate) accounts: Accounts,
    pub(crate) clients: Clients,
    pub(crate) devices: DeviceGate,
    /// What sessions are given.
    pub(crate) token: config::Token,
    pub(crate) refresh: RefreshKey,
    pub(crate) receipts: ReceiptKey,
    pub(crate) http: Http,
    /// The data folder.
    pub(crate) data: PathBuf,
    pub(crate) gate: Gate,
    /// `None` where there are no rules, so that nothing is asked.
    pub(crate) limits: Option<Limits>,
    pub(crate) live: Live,
    /// Where links of invitations lead, with a place for the token.
    pub(crate) invite_link: Option<String>,
    pub(crate) request_ids: RequestIds,
    pub(crate) manifest: Manifest,
    pub(crate) addresses: Addresses,
    pub(crate) audit: Arc<Keeper>,
    pub(crate) flags: Flags,
    /// `None` where the app has no say.
    pub(crate) validator: Option<Validator>,
    pub(crate) compactor: Arc<Compactor>,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Parts {
    /// What `Retry-After` says.
    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_millis(self.http.retry_after_ms)
    }
}
