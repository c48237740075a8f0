//! What gives a device its tokens: signing in, renewal, and the way of companions, which have no keyboard.

use std::time::Duration;

use serde::Deserialize;
use sync_core::wire::account::{NewDevice, Private, Proof, RegisterRequest, SignUpRequest, TokenResponse};
use sync_core::wire::{ErrorCode, SCHEMA};

use super::request::{Call, Failure, Refusal, Reply, Requests};
use super::{AccountError, Credentials, device_key};
use crate::client::clock;

const TOKEN: &[&str] = &["v1", "oauth", "token"];
/// What RFC 8628 adds to the pause between two questions when it was too short.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// Between two questions if the server does not say (RFC 8628, section 3.2).
const INTERVAL_SECONDS: u64 = 5;
/// A server that wants a longer pause than this wants something else.
const INTERVAL_SECONDS_MAX: u64 = 300;

/// What a companion (a TV, a terminal) shows to be let in.
#[derive(Debug, Clone)]
pub struct CompanionCode {
    /// What its user types on a device that is signed in, or on the page below.
    pub user_code: String,
    /// The page.
    pub verification_uri: String,
    /// The page with the code in it, for a QR code.
    pub verification_uri_complete: Option<String>,
    /// How long the code holds, in seconds.
    pub expires_in: u64,
    /// How long to wait before the next question.
    pub interval: Duration,
    client_id: String,
    device_code: Private,
    /// The key of the device that is to be let in, unless the app has one for it.
    device_key: Private,
}

#[derive(Deserialize)]
struct DeviceAuthorization {
    device_code: Private,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
}

impl Requests {
    pub(super) fn sign_up(&self, email: &str, password: Private, display_name: &str) -> Result<(), AccountError> {
        let (email, display_name) = (email.to_owned(), display_name.to_owned());
        let frame = SignUpRequest { schema: SCHEMA, email, password, display_name };
        self.call(&Call::post(&["v1", "accounts"], &frame)?)?;
        Ok(())
    }

    pub(super) fn sign_in(&self, proof: Proof, device: NewDevice) -> Result<Credentials, AccountError> {
        let made = device.public_key.is_none().then(device_key::generate);
        let public_key = made.as_ref().map_or(device.public_key, device_key::public_of);
        let frame = RegisterRequest { schema: SCHEMA, proof, device: NewDevice { public_key, ..device } };
        let credentials = self.tokens(&Call::post(&["v1", "devices"], &frame)?)?;
        Ok(Credentials { device_key: made, ..credentials })
    }

    /// The next tokens. Whether an answer that did not come means that they were given out, nobody knows: so it is asked
    /// for again soon, and then gives the same ones.
    pub(super) fn renew(&self, old: &Credentials) -> Result<Credentials, Failure> {
        let device = old.device.to_string();
        let proof = old.device_key.as_ref().and_then(|key| device_key::proof(key, &old.refresh_token));
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", old.refresh_token.0.as_str()),
            ("device_id", device.as_str()),
        ];
        fields.extend(proof.as_deref().map(|proof| ("proof", proof)));
        let renewed = self.tokens(&Call::form(TOKEN, &fields))?;
        let (server, device_key) = (old.server.clone(), old.device_key.clone());
        let renewed = Credentials { server, device_key, ..renewed };
        // Tokens of somebody else must not get into this store.
        if renewed.is_same_device(old) { Ok(renewed) } else { Err(Failure::Strange { status: 200, retry_after: None }) }
    }

    fn tokens(&self, call: &Call<'_>) -> Result<Credentials, Failure> {
        let asked_ms = clock::wall_ms();
        let answer: Option<TokenResponse> = self.call(call)?.decode();
        let answer = answer.ok_or(Failure::Strange { status: 200, retry_after: None })?;
        Ok(Credentials::of(self.server(), answer, asked_ms))
    }

    pub(super) fn begin_companion(&self, client_id: &str) -> Result<CompanionCode, AccountError> {
        let call = Call::form(&["v1", "oauth", "device_authorization"], &[("client_id", client_id)]);
        let answer: DeviceAuthorization =
            self.call(&call).map_err(AccountError::from).and_then(|reply: Reply| reply.frame())?;
        let interval = answer.interval.unwrap_or(INTERVAL_SECONDS).clamp(1, INTERVAL_SECONDS_MAX);
        Ok(CompanionCode {
            user_code: answer.user_code,
            verification_uri: answer.verification_uri,
            verification_uri_complete: answer.verification_uri_complete,
            expires_in: answer.expires_in,
            interval: Duration::from_secs(interval),
            client_id: client_id.to_owned(),
            device_code: answer.device_code,
            device_key: device_key::generate(),
        })
    }

    pub(super) fn poll_companion(
        &self,
        code: &mut CompanionCode,
        device: &NewDevice,
    ) -> Result<Option<Credentials>, AccountError> {
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", code.device_code.0.as_str()),
            ("client_id", code.client_id.as_str()),
            ("device_name", device.name.as_str()),
            ("platform", device.platform.as_str()),
            ("app_version", device.app_version.as_str()),
        ];
        let id = device.device.map(|id| id.to_string());
        fields.extend(id.as_deref().map(|id| ("device_id", id)));
        let made = device.public_key.is_none().then_some(&code.device_key);
        let public_key = made.map_or(device.public_key.clone(), device_key::public_of);
        fields.extend(public_key.as_deref().map(|key| ("public_key", key)));
        match self.tokens(&Call::form(TOKEN, &fields)) {
            Ok(credentials) => Ok(Some(Credentials { device_key: made.cloned(), ..credentials })),
            Err(Failure::Refused(refusal)) => match refusal.oauth.as_deref() {
                Some("authorization_pending") => Ok(None),
                Some("slow_down") => {
                    code.interval += SLOW_DOWN;
                    Ok(None)
                }
                Some("access_denied") => Err(AccountError::Denied),
                Some("expired_token" | "invalid_grant") => Err(AccountError::CodeExpired),
                _ => Err(refusal.into()),
            },
            Err(failure) => Err(failure.into()),
        }
    }
}

impl Refusal {
    /// Whether a refresh token is good for nothing any more. Only the server's own words say so.
    pub(super) fn ends_session(&self) -> bool {
        let ended = matches!(self.code, ErrorCode::SessionEnded | ErrorCode::DeviceRevoked | ErrorCode::Unauthorized);
        ended || self.oauth.as_deref() == Some("invalid_grant")
    }
}
