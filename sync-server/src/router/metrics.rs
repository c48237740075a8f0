//! `GET /metrics`, on a listener of its own: no proxy leads there, so it asks for no token.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use super::serve;
use crate::app::App;
use crate::config::Http;
use crate::levels;
use crate::telemetry::metrics;

/// A scraper or two, and a person.
const CONNECTIONS_MAX: usize = 8;
/// Between scrapes, histograms grow with every request until they are folded.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `shutdown`.
pub(crate) async fn serve(app: App, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let routes = Router::new().route("/metrics", get(numbers)).with_state(app);
    let http = Http { connections_max: CONNECTIONS_MAX, ..Http::default() };
    let mut serving = pin!(serve::serve(listener, routes, &http, shutdown, async || {}));
    let mut upkeep = interval(UPKEEP_INTERVAL);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = &mut serving => return,
            _ = upkeep.tick() => metrics::upkeep(),
        }
    }
}

async fn numbers(State(app): State<App>) -> Response {
    levels::set(&app).await;
    match metrics::render() {
        Some(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
