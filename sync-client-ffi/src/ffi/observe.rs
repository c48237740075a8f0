//! Observers that apps implement, and the handles that end them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use sync_core::document::{Action, Patch};
use sync_core::id::{DeviceId, DocId, SpaceId};

use super::path;
use super::status::SyncStatus;
use super::value::FfiValue;
use crate::client::{DocEvent, EventKind, Origin, PeerInfo, Subscription, lock};

/// Something observed, until `cancel` is called or this is no longer referred to.
#[derive(uniffi::Object)]
pub struct Watch {
    held: Mutex<Option<Box<dyn Send>>>,
}

impl Watch {
    pub(super) fn new(held: impl Send + 'static) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { held: Mutex::new(Some(Box::new(held))) })
    }

    pub(super) fn of(subscription: Subscription) -> std::sync::Arc<Self> {
        Self::new(subscription)
    }
}

#[uniffi::export]
impl Watch {
    /// Observes no longer. What is under way comes to its end. May be called from within the observer, and again.
    pub fn cancel(&self) {
        drop(lock(&self.held).take());
    }
}

/// Calls foreign code. What it throws, or where it fails, is its own affair: the next call comes all the same.
pub(super) fn told(call: impl FnOnce() -> Result<(), super::RejoinError>) {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an observer failed"),
        Err(_) => tracing::warn!("an observer failed"),
    }
}

/// Hears of a document.
#[uniffi::export(with_foreign)]
pub trait DocumentObserver: Send + Sync {
    /// Something happened to it.
    fn on_event(&self, event: DocumentEvent) -> Result<(), super::RejoinError>;
}

/// Hears how synchronisation stands.
#[uniffi::export(with_foreign)]
pub trait StatusObserver: Send + Sync {
    /// It changed.
    fn on_status(&self, status: SyncStatus) -> Result<(), super::RejoinError>;
}

/// Hears that the documents of a space came or went.
#[uniffi::export(with_foreign)]
pub trait ListObserver: Send + Sync {
    /// They did: the list has to be read again.
    fn on_list(&self) -> Result<(), super::RejoinError>;
}

/// Hears of access to a space.
#[uniffi::export(with_foreign)]
pub trait AccessObserver: Send + Sync {
    /// It was lost or came back, or a change was refused for want of it.
    fn on_access(&self) -> Result<(), super::RejoinError>;
}

/// Hears that the store goes on as another device, since it was restored from a backup or copied.
#[uniffi::export(with_foreign)]
pub trait DeviceObserver: Send + Sync {
    /// A token is wanted for that device; one for any other that is new will do.
    fn on_device_wanted(&self, device: DeviceId) -> Result<(), super::RejoinError>;
}

/// Hears who else is in a space.
#[uniffi::export(with_foreign)]
pub trait PresenceObserver: Send + Sync {
    /// All who show themselves now.
    fn on_presence(&self, peers: Vec<Peer>) -> Result<(), super::RejoinError>;
}

/// Somebody who shows itself in a space now.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Peer {
    /// Who.
    pub user: String,
    /// On which device.
    pub device: DeviceId,
    /// What it shows, in the app's own words.
    pub data: Vec<u8>,
}

impl From<PeerInfo> for Peer {
    fn from(peer: PeerInfo) -> Self {
        Self { user: peer.user, device: peer.device, data: peer.data }
    }
}

/// Something happened to a document.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum DocumentEvent {
    /// It changed by these steps, in this order.
    Changed {
        /// In which space.
        space: SpaceId,
        /// Which document.
        document: DocId,
        /// The steps.
        steps: Vec<DocumentStep>,
    },
    /// Read it again: a change was refused, it was closed while others changed it, or there were more steps than are kept.
    LookAgain {
        /// In which space.
        space: SpaceId,
        /// Which document.
        document: DocId,
    },
    /// It was deleted.
    Deleted {
        /// In which space.
        space: SpaceId,
        /// Which document.
        document: DocId,
    },
}

/// One step from what an observer shows to what the document holds.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct DocumentStep {
    /// The object or property that changed.
    pub path: String,
    /// How.
    pub kind: StepKind,
    /// Whether this client made it.
    pub local: bool,
}

/// How a place changed.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum StepKind {
    /// The property has this value now. An object may arrive empty, its contents follow.
    Put {
        /// The value.
        value: FfiValue,
    },
    /// The key is gone.
    Delete,
    /// Elements came into the list.
    Insert {
        /// Before which index.
        at: u64,
        /// The elements.
        values: Vec<FfiValue>,
    },
    /// Characters came into the text.
    InsertText {
        /// Before which character.
        at: u64,
        /// The characters.
        text: String,
    },
    /// Elements or characters left the list or text.
    Remove {
        /// The first of them.
        at: u64,
        /// How many.
        count: u64,
    },
    /// The counter moved.
    Increment {
        /// By how much.
        by: i64,
    },
    /// A part of the text was marked; null means unmarked.
    Mark {
        /// The first character.
        start: u64,
        /// The character behind the last.
        end: u64,
        /// The mark's name.
        name: String,
        /// The mark's value.
        value: FfiValue,
    },
}

impl From<Action> for StepKind {
    fn from(action: Action) -> Self {
        match action {
            Action::Put(value) => Self::Put { value: value.into() },
            Action::Delete => Self::Delete,
            Action::Insert { at, values } => Self::Insert { at, values: values.into_iter().map(Into::into).collect() },
            Action::InsertText { at, text } => Self::InsertText { at, text },
            Action::Remove { at, count } => Self::Remove { at, count },
            Action::Increment(by) => Self::Increment { by },
            Action::Mark { start, end, name, value } => Self::Mark { start, end, name, value: value.into() },
        }
    }
}

impl From<&DocEvent> for DocumentEvent {
    fn from(event: &DocEvent) -> Self {
        let (space, document) = (event.space, event.doc);
        match &event.kind {
            EventKind::Patches(steps) => {
                let step = |patched: &crate::client::Patched| {
                    let Patch { path, action } = patched.patch.clone();
                    DocumentStep {
                        path: path::show(&path),
                        kind: action.into(),
                        local: patched.origin == Origin::Local,
                    }
                };
                Self::Changed { space, document, steps: steps.iter().map(step).collect() }
            }
            EventKind::LookAgain => Self::LookAgain { space, document },
            EventKind::Deleted => Self::Deleted { space, document },
        }
    }
}
