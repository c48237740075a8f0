//! How often callers may call: the layer that asks every rule that fits a request, in one question.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sync_core::id::Hash;

use super::observe::Note;
use super::{Route, address};
use crate::app::App;
use crate::auth::{Access, Caller};
use crate::config::{Config, LimitOf, LimitRule};
use crate::error::ApiError;
use crate::limiter::{Decision, Limiter, Quota, Refused, Usage};
use crate::telemetry::metrics;

/// The fields of draft-ietf-httpapi-ratelimit-headers.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The rules, and who counts.
pub(crate) struct Limits {
    rules: Vec<Rule>,
    limiter: Arc<dyn Limiter>,
    /// Tokens whose user or device was refused: while it lasts, they need not be verified. Under their hashes, since nothing
    /// but a caller keeps a token.
    tokens: Refused<Hash, Quota>,
}

struct Rule {
    name: Arc<str>,
    of: LimitOf,
    route: Option<(String, String)>,
    requests: u32,
    window: Duration,
}

impl Rule {
    fn new(rule: &LimitRule) -> Self {
        let route = rule.route.split_once(' ').map(|(method, path)| (method.to_owned(), path.to_owned()));
        let (name, window) = (Arc::from(rule.name.as_str()), Duration::from_secs(rule.seconds.into()));
        Self { name, of: rule.of, route, requests: rule.requests, window }
    }

    fn fits(&self, of: LimitOf, route: Option<&Route>) -> bool {
        let is =
            |(method, path): &(String, String)| route.is_some_and(|route| route.method == method && route.path == path);
        self.of == of && self.route.as_ref().is_none_or(is)
    }

    fn quota(&self, key: String) -> Quota {
        Quota { rule: Arc::clone(&self.name), key, requests: self.requests, window: self.window }
    }
}

impl Limits {
    pub(crate) fn new(config: &Config, limiter: Arc<dyn Limiter>) -> Self {
        Self { rules: config.limits.rules.iter().map(Rule::new).collect(), limiter, tokens: Refused::default() }
    }

    fn quotas(&self, of: LimitOf, request: &Request, key: impl Fn() -> String) -> impl Iterator<Item = Quota> {
        let route = Route::of(request.extensions(), request.method());
        let fitting = self.rules.iter().filter(move |rule| rule.fits(of, route));
        fitting.map(move |rule| rule.quota(key()))
    }

    fn of_address(&self, request: &Request) -> Vec<Quota> {
        let note = request.extensions().get::<Arc<Note>>();
        let Some(address) = note.and_then(|note| note.address()) else { return Vec::new() };
        self.quotas(LimitOf::Address, request, || address::network(address)).collect()
    }

    fn of_caller(&self, request: &Request, caller: &Caller) -> Vec<Quota> {
        let users = self.quotas(LimitOf::User, request, || caller.user.clone());
        // Devices are their users': anybody may have a token with a device of that id.
        let device = || format!("{}:{}", caller.device, caller.user);
        users.chain(self.quotas(LimitOf::Device, request, device)).collect()
    }

    /// The rules that would be asked about whoever calls, without a key.
    fn quotas_of_any_caller(&self, request: &Request) -> Vec<Quota> {
        let users = self.quotas(LimitOf::User, request, String::new);
        users.chain(self.quotas(LimitOf::Device, request, String::new)).collect()
    }

    /// Until the last of its user's or device's rules has room.
    fn remember(&self, token: Hash, quotas: &[Quota], decision: &Decision) {
        let of_caller =
            |rule: &Arc<str>| self.rules.iter().any(|known| known.name == *rule && known.of != LimitOf::Address);
        let used_up = decision.usage.iter().filter(|usage| usage.remaining == 0 && of_caller(&usage.rule));
        let Some(longest) = used_up.max_by_key(|usage| usage.frees_in) else { return };
        let Some(quota) = quotas.iter().find(|quota| quota.rule == longest.rule) else { return };
        let now = Instant::now();
        self.tokens.add(token, now + longest.frees_in, quota.clone(), now);
    }
}

/// The layer over every route that needs a token.
pub(crate) async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(limits) = &app.limits else { return next.run(request).await };
    // Cheapest first: neither a flood from one address nor one with one token gets as far as its token.
    let mut quotas = limits.of_address(&request);
    if let Some(decision) = limits.limiter.refused(&quotas) {
        return refuse(&decision);
    }
    let token = request.headers().get(AUTHORIZATION).map(|token| Hash::of(&[token.as_bytes()]));
    let fits = |quota: &Quota, caller: &[Quota]| caller.iter().any(|other| other.rule == quota.rule);
    let now = Instant::now();
    let refused = token.and_then(|token| limits.tokens.get(&token, now));
    if let Some((left, quota)) = &refused
        && fits(quota, &limits.quotas_of_any_caller(&request))
    {
        return refuse(&Decision { allowed: false, usage: vec![quota.used_up(*left)] });
    }
    let (mut parts, body) = request.into_parts();
    let caller = Access::verified(&mut parts, &app).await.ok().map(|access| access.caller);
    let request = Request::from_parts(parts, body);
    if let Some(caller) = &caller {
        quotas.extend(limits.of_caller(&request, caller));
    }
    let decision = limits.limiter.ask(&quotas).await;
    if !decision.allowed {
        if let (Some(token), Some(_)) = (token, &caller) {
            limits.remember(token, &quotas, &decision);
        }
        return refuse(&decision);
    }
    let mut response = next.run(request).await;
    tell(&decision, response.headers_mut());
    response
}

fn refuse(decision: &Decision) -> Response {
    if let Some(usage) = decision.tightest() {
        metrics::rate_limited(&usage.rule);
    }
    let mut response = ApiError::rate_limited(decision.refused_for()).into_response();
    tell(decision, response.headers_mut());
    response
}

/// Says where the tightest of the rules stands: it is the one that a caller has to heed.
fn tell(decision: &Decision, headers: &mut HeaderMap) {
    let Some(Usage { rule, requests, window, remaining, frees_in }) = decision.tightest() else { return };
    let frees_s = frees_in.as_micros().div_ceil(1_000_000);
    let policy = format!("\"{rule}\";q={requests};w={}", window.as_secs());
    let stands = format!("\"{rule}\";r={remaining};t={frees_s}");
    // A rule's name is of a-z, 0-9 and -.
    for (name, value) in [(POLICY, policy), (LIMIT, stands)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
