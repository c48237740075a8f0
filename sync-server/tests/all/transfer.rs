//! `sync-server export` and `import`: killed at any moment, they leave nothing half done, and can be started again.

use std::path::Path;
use std::process::{Command, Output};

use sync_core::id::SpaceId;
use sync_server::store::Store;
use sync_server::store::inspect::Inspect;
use sync_server::store::sqlite::{SqliteOptions, SqliteStore};
use sync_server::verify;

use crate::binary::binary;
use crate::world::{World, typing};

const KILLS: u64 = 12;

/// The program, killed after so many milliseconds.
fn dying(after_ms: u64, data: &Path, arguments: &[&str]) -> Command {
    let program = binary(data, arguments);
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", &format!("{}.{:03}", after_ms / 1_000, after_ms % 1_000)]);
    command.arg(program.get_program()).args(program.get_args());
    for variable in ["DATABASE_URL", "DATABASE_READ_URL", "REDIS_URL"] {
        command.env_remove(variable);
    }
    command
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn store(data: &Path) -> SqliteStore {
    SqliteStore::open(data, &SqliteOptions::default()).unwrap()
}

async fn log(data: &Path, space: SpaceId) -> Vec<sync_server::store::inspect::LogRow> {
    let store = store(data);
    let rows = store.log_rows(space, 0, 100_000).await.unwrap();
    store.close().await.unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_leave_no_half_file_and_no_half_space() {
    let world = World::new().await;
    let mut ann = world.phone("ann");
    for _ in 0..60 {
        let push = ann.push(typing(ann.device, 50));
        ann.sync(&push).await;
    }
    let (space, source) = (ann.space, world.folder.path());
    let id = space.to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("space.rejoin");
    let name = file.to_str().unwrap();
    let mut cut = 0;
    for kill in 0..KILLS {
        let output = run(dying(20 + kill * 40, source, &["export", "--space", &id, "--out", name])).await;
        if file.exists() {
            // It was whole by then.
            let checked = run(binary(source, &["import", name, "--check"])).await;
            assert!(checked.status.success(), "{checked:?}");
            std::fs::remove_file(&file).unwrap();
        } else {
            assert!(!output.status.success());
            cut += 1;
        }
        // Nobody waits for the place of one that was killed.
        let database = rusqlite::Connection::open(source.join("rejoin.sqlite")).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        database.execute("DELETE FROM compactors", []).unwrap();
    }
    println!("{cut} of {KILLS} exports were killed before their end");
    let output = run(binary(source, &["export", "--space", &id, "--out", name])).await;
    assert!(output.status.success(), "{output:?}");
    let again = run(binary(source, &["export", "--space", &id, "--out", name])).await;
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
    let whole = std::fs::read(&file).unwrap();
    let half = folder.path().join("half.rejoin");
    std::fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let checked = run(binary(source, &["import", half.to_str().unwrap(), "--check"])).await;
    assert!(!checked.status.success() && String::from_utf8_lossy(&checked.stderr).contains("damaged"), "{checked:?}");

    let target = folder.path().join("target");
    let (mut broken, mut done) = (0, false);
    for kill in 0..KILLS {
        let output = run(dying(20 + kill * 60, &target, &["import", name, "--owner", "ann"])).await;
        if output.status.success() {
            done = true;
            break;
        }
        broken += 1;
        let store = store(&target);
        assert!(store.version(space).await.is_err(), "something is visible");
        assert!(store.spaces_of("ann").await.unwrap().is_empty());
        store.close().await.unwrap();
    }
    println!("{broken} imports were killed");
    assert!(broken > 0);
    if !done {
        let output = run(binary(&target, &["import", name, "--owner", "ann"])).await;
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(log(&target, space).await, log(source, space).await);
    let store = store(&target);
    let report = verify::space(&store, space, &mut |_| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_can_be_abandoned() {
    let folder = tempfile::tempdir().unwrap();
    let space = SpaceId::from_random([9; 16]);
    let store = store(folder.path());
    {
        use sync_server::store::lifecycle::Lifecycle;
        store.begin_filling(space).await.unwrap().unwrap();
    }
    assert!(store.version(space).await.is_err());
    let output = run(binary(folder.path(), &["import", "--abandon", &space.to_string()])).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(store.version(space).await.unwrap().head.seq, 0);
    store.close().await.unwrap();
}
