//! The webhook: a signed POST to the app's own server, in the form of [Standard Webhooks](https://www.standardwebhooks.com).

use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sync_core::id::{DeviceId, DocId, Hash, SpaceId};
use url::Url;

use super::{Proposal, Proposed, Refusal, Unable, Validate, What};
use crate::clock::Clock;
use crate::config::{self, Validation};
use crate::outbound::{self, TlsError};

/// An answer names items; a push has at most 10,000.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What is logged of a reason.
const REASON_CHARS_MAX: usize = 200;
/// Of the time for an attempt, a part at most for the connection.
const CONNECT_PART: u32 = 2;

/// Asks an address.
pub(crate) struct Webhook {
    client: Client,
    url: Url,
    key: hmac::Key,
    clock: Clock,
}

#[derive(Serialize)]
struct Question<'a> {
    r#type: &'static str,
    /// Seconds since 1970.
    timestamp: u64,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    space: SpaceId,
    user: &'a str,
    device: DeviceId,
    items: Vec<ItemOf<'a>>,
}

#[derive(Serialize)]
struct ItemOf<'a> {
    n: u64,
    document: DocId,
    hash: Hash,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<&'a str>,
    /// What the change does, for who has no automerge at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded: Option<Box<RawValue>>,
    /// The change itself, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    n: u64,
    #[serde(default)]
    reason: String,
}

impl Webhook {
    /// `None` where no address is configured.
    pub(crate) fn new(config: &Validation, clock: &Clock) -> Result<Option<Self>, TlsError> {
        let (Some(url), Some(secret)) = (&config.url, &config.secret) else { return Ok(None) };
        let (Ok(url), Some(key)) = (Url::parse(url), config::webhook_key(secret)) else { return Ok(None) };
        let time = Duration::from_millis(config.timeout_ms);
        let client = outbound::client(time / CONNECT_PART, time)?.build();
        let client = client.map_err(|error| TlsError(error.to_string()))?;
        Ok(Some(Self { client, url, key: hmac::Key::new(hmac::HMAC_SHA256, &key), clock: clock.clone() }))
    }

    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut signing = hmac::Context::with_key(&self.key);
        signing.update(format!("{id}.{timestamp}.").as_bytes());
        signing.update(body);
        format!("v1,{}", STANDARD.encode(signing.sign()))
    }
}

/// The same for each attempt, and when the device sends the push again.
fn id(proposal: &Proposal) -> String {
    let mut parts = vec![proposal.space.as_bytes().to_vec(), proposal.device.as_bytes().to_vec()];
    parts.extend(proposal.items.iter().map(|item| [&item.n.to_be_bytes()[..], &item.hash.0].concat()));
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    format!("msg_{}", Hash::of(&parts))
}

fn item(item: &Proposed) -> ItemOf<'_> {
    let (kind, collection, change) = match &item.what {
        What::Create { collection } => ("create", Some(collection.as_str()), None),
        What::Change { bytes } => ("change", None, Some(STANDARD.encode(bytes))),
        What::Delete => ("delete", None, None),
    };
    let decoded = item.json().and_then(|json| RawValue::from_string(json).ok());
    ItemOf { n: item.n, document: item.doc, hash: item.hash, kind, collection, decoded, change }
}

#[async_trait]
impl Validate for Webhook {
    async fn validate(&self, proposal: &Proposal) -> Result<Vec<Refusal>, Unable> {
        let timestamp = self.clock.now_ms() / 1000;
        let Proposal { space, user, device, items } = proposal;
        let data = Data { space: *space, user, device: *device, items: items.iter().map(item).collect() };
        let question = Question { r#type: "changes.proposed", timestamp, data };
        let unable = |error: &dyn std::fmt::Display| Unable(error.to_string());
        let body = serde_json::to_vec(&question).map_err(|error| unable(&error))?;
        let id = id(proposal);
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", self.sign(&id, timestamp, &body));
        let response = request.body(body).send().await.map_err(|error| Unable(outbound::cause(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(Unable(format!("it answered {}", response.status())));
        }
        let answer = outbound::body(response, ANSWER_BYTES_MAX).await.map_err(|error| match error {
            Some(error) => Unable(outbound::cause(&error)),
            None => Unable("its answer is longer than 1 MiB".to_owned()),
        })?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| Unable("its answer is not one".to_owned()))?;
        let refusal = |Refused { n, reason }: Refused| {
            let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
            Refusal { n, reason }
        };
        Ok(answer.refused.into_iter().map(refusal).collect())
    }
}
