//! The app's say in what is taken: a function of the app that links this library, or a webhook. It is asked before the space's
//! lock is taken, so that nobody waits for it but who sent the push; and once for a push, however many changes are in it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use sync_core::check::{Candidate, Checked, Push};
use sync_core::code::RejectCode;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use sync_core::quarantine;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::{OnFailure, Validation};
use crate::error::ApiError;
use crate::telemetry::metrics;

mod webhook;

pub(crate) use webhook::Webhook;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// What a device wants to have taken: a run of its feed, without what the server has refused already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Where.
    pub space: SpaceId,
    /// Who.
    pub user: String,
    /// By which device.
    pub device: DeviceId,
    /// In the feed's order. Some may be in the log already, when an answer to the device was lost: what is said of them now
    /// changes nothing.
    pub items: Vec<Proposed>,
}

/// One item of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Its number in the feed.
    pub n: u64,
    /// The document.
    pub doc: DocId,
    /// What its device declares, and the log will hold.
    pub hash: Hash,
    /// What it does.
    pub what: What,
}

/// What an item does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Creates the document.
    Create {
        /// In this collection.
        collection: String,
    },
    /// Changes it.
    Change {
        /// An automerge change, as any library of automerge reads it.
        bytes: Vec<u8>,
    },
    /// Deletes it, for good.
    Delete,
}

impl Proposed {
    /// What a change does, as automerge's JSON of it: `ops`, with `obj`, `key`, `action`, `value`, and who and upon what. `None`
    /// for what is no change.
    pub fn json(&self) -> Option<String> {
        match &self.what {
            What::Change { bytes } => Some(quarantine::describe(bytes)),
            What::Create { .. } | What::Delete => None,
        }
    }
}

/// An item that is not to be taken. Its device keeps it, and is told the code `validation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its number in the feed.
    pub n: u64,
    /// Why: for the server's log alone.
    pub reason: String,
}

/// Nobody can say now. For the server's log alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unable(pub String);

/// The app's say. A function that says at once is one: `|proposal: &Proposal| Ok(Vec::new())`.
#[async_trait]
pub trait Validate: Send + Sync + 'static {
    /// The items that are not to be taken; none, if all may be.
    async fn validate(&self, proposal: &Proposal) -> Result<Vec<Refusal>, Unable>;
}

#[async_trait]
impl<F> Validate for F
where
    F: Fn(&Proposal) -> Result<Vec<Refusal>, Unable> + Send + Sync + 'static,
{
    async fn validate(&self, proposal: &Proposal) -> Result<Vec<Refusal>, Unable> {
        self(proposal)
    }
}

/// Asks it, within bounds.
pub(crate) struct Validator {
    hook: Arc<dyn Validate>,
    config: Validation,
    slots: Semaphore,
}

impl Validator {
    pub(crate) fn new(hook: Arc<dyn Validate>, config: &Validation) -> Self {
        Self { hook, slots: Semaphore::new(config.in_flight_max), config: config.clone() }
    }

    /// Has the app look at a push, and refuses in it what the app refuses. An error where nobody could say, and that is not
    /// as good as a yes.
    pub(crate) async fn look(&self, space: SpaceId, push: &mut Push) -> Result<(), ApiError> {
        let proposal = proposal(space, push);
        if proposal.items.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        match self.ask(&proposal).await {
            Ok(refusals) => {
                metrics::validated(if refusals.is_empty() { "accepted" } else { "refused" }, began.elapsed());
                for refusal in &refusals {
                    refuse(push, refusal, &proposal);
                }
                Ok(())
            }
            Err(Unable(why)) => {
                metrics::validated("failed", began.elapsed());
                match self.config.on_failure {
                    OnFailure::Open => {
                        tracing::warn!(%space, why, "changes are taken that nobody could be asked about");
                        Ok(())
                    }
                    OnFailure::Closed => Err(ApiError::unavailable(format!("the validation hook: {why}"))),
                }
            }
        }
    }

    async fn ask(&self, proposal: &Proposal) -> Result<Vec<Refusal>, Unable> {
        let time = Duration::from_millis(self.config.timeout_ms);
        // Whoever waits longer than an attempt takes is not helped by an answer.
        let slot = timeout_at(Instant::now() + time, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else { return Err(Unable("too many pushes are asked about".to_owned())) };
        let mut last = Unable("it was not asked".to_owned());
        for attempt in 0..self.config.tries_max {
            if attempt > 0 {
                sleep(PAUSE).await;
            }
            // The app's own fault must not end what carries everybody's requests.
            let asked = AssertUnwindSafe(self.hook.validate(proposal)).catch_unwind();
            last = match timeout(time, asked).await {
                Ok(Ok(Ok(refusals))) => return Ok(refusals),
                Ok(Ok(Err(unable))) => unable,
                Ok(Err(_)) => Unable("it panicked".to_owned()),
                Err(_) => Unable(format!("no answer within {} ms", self.config.timeout_ms)),
            };
            tracing::info!(space = %proposal.space, attempt, why = %last, "the validation hook failed");
        }
        Err(last)
    }
}

fn proposal(space: SpaceId, push: &Push) -> Proposal {
    let item = |(n, candidate): (u64, &Candidate)| {
        let what = match &candidate.checked {
            Checked::Create(collection) => What::Create { collection: collection.clone() },
            Checked::Change(_, bytes) | Checked::Unwanted(_, bytes) => What::Change { bytes: bytes.clone() },
            Checked::Delete => What::Delete,
            // It shows what the document shows already.
            Checked::Epoch(..) | Checked::Refused(_) => return None,
        };
        Some(Proposed { n, doc: candidate.doc, hash: candidate.hash, what })
    };
    let items = (push.base.n + 1..).zip(&push.candidates).filter_map(item).collect();
    Proposal { space, user: push.user.clone(), device: push.device, items }
}

fn refuse(push: &mut Push, refusal: &Refusal, proposal: &Proposal) {
    let Refusal { n, reason } = refusal;
    if !proposal.items.iter().any(|item| item.n == *n) {
        tracing::warn!(space = %proposal.space, n, "the validation hook refuses what it was not asked about");
        return;
    }
    if let Some(candidate) = push.candidates.get_mut((n - push.base.n - 1) as usize) {
        let (space, device, doc) = (proposal.space, push.device, candidate.doc);
        tracing::info!(%space, %device, n, %doc, reason, "refused by the validation hook");
        let refused = Checked::Refused(RejectCode::Validation);
        candidate.checked = match std::mem::replace(&mut candidate.checked, refused) {
            Checked::Change(facts, bytes) if facts.actor.is_structure() => Checked::Unwanted(facts, bytes),
            _ => Checked::Refused(RejectCode::Validation),
        };
    }
}
