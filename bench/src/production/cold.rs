//! The cold start of `cold`, from SQLite and from Postgres in one run.

use sync_server::Config;
use sync_tests::rig::ServerProcess;
use sync_tests::services::postgres::Postgres;

use crate::Figure;
use crate::cold::{ColdStart, cold_start};

pub fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this program");
    let mut on_sqlite = ServerProcess::start(&program, &folder.path().join("sqlite"));
    let sqlite = cold_start(&mut on_sqlite, folder.path());
    drop(on_sqlite);
    let postgres = Postgres::start();
    let database = super::database(&postgres.create_database("rejoin"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(sync_server::store::postgres::migrate(&database)).expect("the schema");
    let data = folder.path().join("node");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut on_postgres = ServerProcess::configured(&program, &Config { data, listen, database, ..Config::default() });
    let measured = cold_start(&mut on_postgres, folder.path());
    let text = |cold: &ColdStart| format!("{:.2} / {:.2} s, {:.0} MiB", cold.median_s, cold.worst_s, cold.peak_mib);
    let ratio = measured.median_s / sqlite.median_s;
    vec![
        Figure::note("2,000 documents to a fresh client from SQLite, median / worst, server's peak", text(&sqlite)),
        Figure::against(
            "the same from Postgres",
            format!("{}, {ratio:.2} × SQLite", text(&measured)),
            "≤ 1.5 × SQLite",
            ratio <= 1.5,
        ),
        Figure::note(
            "upload of the same into SQLite and into Postgres",
            format!("{:.0} and {:.0} items/s", sqlite.uploaded_per_s, measured.uploaded_per_s),
        ),
    ]
}
