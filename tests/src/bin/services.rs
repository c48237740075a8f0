//! What `tests/run` starts beside the tests: `services missing` says what is not installed, `services start` starts what
//! is, and stops it at the end of its input or at a signal.

use std::io::{Read, Write};

use sync_tests::services::oidc::Oidc;
use sync_tests::services::pgbouncer::PgBouncer;
use sync_tests::services::postgres::Postgres;
use sync_tests::services::redis::Redis;
use sync_tests::services::schemathesis::Schemathesis;
use sync_tests::services::{DATABASE_URL, PGBOUNCER_URL, REDIS_URL};
use tokio::signal::unix::{SignalKind, signal};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["missing"] => missing(),
        ["start"] => start(),
        other => panic!("not known: {other:?}"),
    }
}

/// A line a service, by the name of its Debian package. Where there is Node, its provider is fetched, too; where there is Python, Schemathesis.
fn missing() {
    let found = [
        ("postgresql", Postgres::find().is_ok()),
        ("redis-server", Redis::find().is_ok()),
        ("pgbouncer", PgBouncer::find().is_ok()),
        ("nodejs", Oidc::find().is_ok()),
        ("python3-venv", Schemathesis::find().is_ok()),
    ];
    for (package, _) in found.iter().filter(|(_, found)| !found) {
        println!("{package}");
    }
}

/// A line `VARIABLE=URL` for each service that answers and that the environment does not name, then `ready`.
fn start() {
    let wanted = |variable| std::env::var_os(variable).is_none();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    // From here on a signal ends what was started, and not this process alone.
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt()).expect("a signal"), signal(SignalKind::terminate()).expect("a signal"))
    };
    let redis = (wanted(REDIS_URL) && Redis::find().is_ok()).then(Redis::start);
    let postgres = (wanted(DATABASE_URL) && Postgres::find().is_ok()).then(Postgres::start);
    // Before another's Postgres there is none: it would need that one's passwords.
    let pooled = postgres.as_ref().filter(|_| wanted(PGBOUNCER_URL) && PgBouncer::find().is_ok());
    let pgbouncer = pooled.map(PgBouncer::start);
    let lines = [
        postgres.as_ref().map(|service| (DATABASE_URL, service.url("postgres"))),
        redis.as_ref().map(|service| (REDIS_URL, service.url())),
        pgbouncer.as_ref().map(|service| (PGBOUNCER_URL, service.url("postgres"))),
    ];
    for (variable, url) in lines.into_iter().flatten() {
        println!("{variable}={url}");
    }
    println!("ready");
    std::io::stdout().flush().expect("somebody reads");

    let (ended, end) = tokio::sync::oneshot::channel();
    // A thread that nobody waits for: a signal may come first.
    std::thread::spawn(move || {
        std::io::stdin().lock().read_to_end(&mut Vec::new()).ok();
        ended.send(()).ok();
    });
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = end => {}
        }
    });
    drop((pgbouncer, postgres, redis));
}
