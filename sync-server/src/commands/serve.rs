//! `sync-server serve`: requests are taken until a signal comes.

use std::net::SocketAddr;
use std::pin::pin;

use clap::Args;
use sync_server::{Server, telemetry};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::place::{Between, Place};
use super::{Done, compaction_worker, print};

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    between: Between,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8787]
    #[arg(long, env = "REJOIN_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Prepare statements: cheaper commits, where nothing that pools by transaction stands before the database
    #[arg(long, env = "DATABASE_PREPARE")]
    database_prepare: bool,
    /// A replica of the Postgres database, for long reads
    #[arg(long, env = "DATABASE_READ_URL", hide_env_values = true, value_name = "URL")]
    database_read_url: Option<String>,
    /// Address for Prometheus to read numbers at, /metrics; port 0 takes a free one [default: none]
    #[arg(long, env = "REJOIN_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// What to log: a level, or targets with levels [default: info]
    #[arg(long, env = "REJOIN_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[tokio::main]
pub async fn serve(arguments: Serve) -> Done {
    let mut config = arguments.place.config()?;
    arguments.between.configure(&mut config);
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    config.database.prepare |= arguments.database_prepare;
    if let Some(url) = arguments.database_read_url {
        config.database.read_url = Some(url.into());
    }
    if let Some(filter) = arguments.log {
        config.log.filter = filter;
    }
    if arguments.metrics_listen.is_some() {
        config.metrics.listen = arguments.metrics_listen;
    }
    telemetry::init(&config.log.filter)?;
    let metrics = match config.metrics.listen {
        Some(listen) => {
            telemetry::metrics::install()?;
            Some(TcpListener::bind(listen).await?)
        }
        None => None,
    };
    let workshop = compaction_worker::workshop(&config)?;
    let shutdown = stop_signal()?;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let mut shutdown = pin!(shutdown);
    let server = tokio::select! {
        server = Server::builder().workshop(workshop).config(config).build() => server?,
        // While it waits for its database.
        () = &mut shutdown => return Ok(()),
    };
    print(&format!("listening on http://{address}\n"))?;
    let Some(metrics) = metrics else {
        server.serve(listener, shutdown).await;
        return Ok(());
    };
    print(&format!("metrics on http://{}/metrics\n", metrics.local_addr()?))?;
    // They are there for as long as there is anything to count.
    let (serving, served) = oneshot::channel::<()>();
    let serve = async {
        server.serve(listener, shutdown).await;
        drop(serving);
    };
    tokio::join!(serve, server.serve_metrics(metrics, async { drop(served.await) }));
    Ok(())
}

#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>, std::io::Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("shutting down");
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()>, std::io::Error> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "cannot wait for ctrl-c");
            std::future::pending::<()>().await;
        }
    })
}
