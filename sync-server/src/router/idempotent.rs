//! Idempotency keys: a request that changes something, sent again with the same key, is answered as it was and does nothing.
//!
//! Only answers of success are kept, and only small ones: a request that was refused took no effect, so its key is free
//! again, and so is the key of an answer too large to keep, or that tells a [secret](Secret). Routes that give large answers must bear repetition by
//! themselves, as `/v1/sync` does by its change ids.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use sync_core::id::Hash;

use super::Route;
use super::gate::Place;
use crate::app::App;
use crate::auth::Access;
use crate::error::ApiError;
use crate::exchange::{INLINE_BYTES_MAX, aside};
use crate::handlers::body;
use crate::store::idempotency::{ANSWER_KEPT, Claim, ClaimToken, KeptAnswer, NewClaim, RequestKey};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// A key is a UUID or a few words; it is kept for a day.
const KEY_BYTES_MAX: usize = 255;
/// An answer that is kept. What a push is answered with is far smaller.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// In an answer's extensions: it tells something that is kept nowhere, as a token is. Sent again with its key, the request
/// is worked on again.
#[derive(Clone)]
pub(crate) struct Secret;
/// Beyond the time that a request may take, for the answer to be kept.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The layer over every route. Without the header it costs nothing.
pub(crate) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method().is_safe() || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    keyed(app, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn keyed(app: App, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, sent) = request.into_parts();
    let key = key(&parts.headers)?;
    let user = Access::verified(&mut parts, &app).await?.caller.user;
    let path = Route::of(&parts.extensions, &parts.method).map_or("", |route| route.path);
    let of = RequestKey { user, route: format!("{} {path}", parts.method), key };
    let sent = Bytes::from(body::whole(&app, &parts, sent).await?);
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).map_or(Bytes::new(), |value| Bytes::copy_from_slice(value.as_bytes()));
    // None of these holds a zero byte, so no two requests run into the same.
    let head = format!("{}\0{}\0", of.route, parts.uri);
    let body = sent.clone();
    let long = body.len() > INLINE_BYTES_MAX;
    let hash = aside(long, move || Hash::of(&[head.as_bytes(), &content_type, b"\0", &body])).await?;
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(ApiError::internal)?;
    let token = ClaimToken(token);
    let time = Duration::from_millis(app.http.request_timeout_ms);
    let claim = NewClaim { of: of.clone(), hash, token, lease: time + LEASE_MARGIN };
    match app.store.claim(claim).await? {
        Claim::Mismatch => Err(ApiError::idempotency_mismatch()),
        Claim::InFlight => Err(ApiError::idempotency_in_flight()),
        Claim::Done(answer) => Ok(replay(answer)),
        Claim::Fresh => {
            let request = Request::from_parts(parts, Body::from(sent));
            // A task of its own: when the caller's network goes away meanwhile, which is what keys are for, the answer is
            // there when it comes back. It keeps the request's place in the gate, so that tasks are no more than requests.
            let work = work(app, of, token, request, next);
            tokio::spawn(work).await.map_err(ApiError::internal)
        }
    }
}

/// What is wrong with a key is told before anything is read.
fn key(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut values = headers.get_all(KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(ApiError::bad_idempotency_key()) };
    let fine = (1..=KEY_BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    value.to_str().ok().filter(|_| fine).map(str::to_owned).ok_or_else(ApiError::bad_idempotency_key)
}

async fn work(app: App, of: RequestKey, token: ClaimToken, request: Request, next: Next) -> Response {
    let _place = request.extensions().get::<Place>().cloned();
    let response = match app.gate.within(Duration::from_millis(app.http.request_timeout_ms), next.run(request)).await {
        Ok(response) => response,
        // It may take effect yet, so the key stays taken until the lease ends.
        Err(error) => return error.into_response(),
    };
    let is_small = response.body().size_hint().exact().is_some_and(|bytes| bytes <= ANSWER_BYTES_MAX);
    let is_secret = response.extensions().get::<Secret>().is_some();
    if !response.status().is_success() || !is_small || is_secret {
        if let Err(error) = app.store.release(of, token).await {
            tracing::warn!(%error, "an idempotency key is not released: it is free when its lease ends");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return ApiError::internal(error).into_response(),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let answer = KeptAnswer {
        status: parts.status.as_u16(),
        content_type: content_type.map(str::to_owned),
        body: body.to_vec(),
    };
    match app.store.settle(of, token, answer, ANSWER_KEPT).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("an answer came after its lease, and is not kept"),
        Err(error) => tracing::warn!(%error, "an answer is not kept"),
    }
    Response::from_parts(parts, Body::from(body))
}

fn replay(answer: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    // It was a status when it was kept.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(value) = answer.content_type.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    response
}

#[cfg(test)]
mod tests;
