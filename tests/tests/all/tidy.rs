//! The repository keeps its own rules; and the checker of them really finds what breaks them.

use std::path::Path;

use sync_tests::tidy::{Tree, check};

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tree = Tree::read(&root).expect("the repository's files are read");
    let files = tree.files().count();
    assert!(files > 20, "only {files} files were found under {}", root.display());
    let wrong = check(&tree);
    assert!(wrong.is_empty(), "{} places break the rules:\n{}", wrong.len(), wrong.join("\n"));
}

const CLIPPY: &str = r#"
disallowed-methods = [
  { path = "std::time::SystemTime::now", reason = "" },
  { path = "std::time::Instant::now", reason = "" },
  "std::thread::spawn", "std::fs::File::open", "std::net::TcpStream::connect", "std::env::var", "uuid::Uuid::new_v4",
]
disallowed-types = ["std::collections::HashMap", "std::collections::HashSet"]
"#;

/// A small tree without fault, with all that only looks like one.
fn clean() -> Tree {
    Tree::of(&[
        ("sync-core/Cargo.toml", "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n"),
        ("sync-core/clippy.toml", CLIPPY),
        (
            "sync-core/src/lib.rs",
            "//! Pure: no HashMap, no std::time::Instant.\n/* nor axum /* nor tokio */ */\n\
             pub fn operand<'a>(text: &'a str) -> char { let _ = (\"rand std::fs\", r#\"\"HashSet\"#, text); '\"' }\n\
             #[cfg(test)]\nmod tests {\n    use std::collections::HashMap;\n    fn f() { if true { std::fs::read(\"\"); } }\n}\n",
        ),
        ("sync-server/Cargo.toml", "[dependencies]\nsync-core.workspace = true\naxum = \"0.8\"\n"),
        ("sync-server/src/lib.rs", "//! The server.\nuse axum::Router;\n"),
        ("sync-server/src/handlers/sync.rs", "//! A route.\nuse axum::extract::State;\n"),
        ("sync-server/src/store/sqlite.rs", "//! A store.\nuse rusqlite::Connection;\nconst Q: &str = \"SELECT 1\";\n"),
        ("sync-client-ffi/Cargo.toml", "[dependencies]\nsync-core.workspace = true\n"),
        ("sync-client-ffi/src/lib.rs", "//! The client.\nuniffi::setup_scaffolding!();\n"),
        ("sync-client-ffi/src/ffi/document.rs", "//! What apps see.\n#[derive(uniffi::Object)]\npub struct Doc;\n"),
        ("sync-client-ffi/src/client/store.rs", "//! A store.\nuse rusqlite::Connection;\n"),
    ])
}

#[test]
fn a_clean_tree_has_no_faults() {
    assert_eq!(check(&clean()), Vec::<String>::new());
}

/// Plants a fault, and demands that it is found at that place, and nothing else.
fn plant(path: &str, text: &str, found: &[&str]) {
    let wrong = check(&clean().with(path, text));
    assert_eq!(wrong, found, "planted in {path}:\n{text}");
}

#[test]
fn files_open_with_what_they_are_and_end_in_time() {
    let unopened = "sync-server/src/bus.rs:1: does not open with a `//!` line that says what it is";
    plant("sync-server/src/bus.rs", "use std::io;\n", &[unopened]);
    let long = format!("//! Long.\n{}", "\n".repeat(700));
    plant(
        "sync-core/src/long.rs",
        &long,
        &["sync-core/src/long.rs:701: longer than 700 lines: what is its second subject?"],
    );
    plant("sync-core/src/a.rs", "//! A.\nfn f() {\n    todo!()\n}\n", &["sync-core/src/a.rs:3: unfinished"]);
    plant(
        "sync-client-ffi/src/a.rs",
        "//! A.\nfn f() { unimplemented!() }\n",
        &["sync-client-ffi/src/a.rs:2: unfinished"],
    );
}

#[test]
fn the_core_stays_pure() {
    for (code, name) in [
        ("use std::time::Duration;", "std::time"),
        ("let x = std::fs::read(path);", "std::fs"),
        ("use std::net::TcpStream;", "std::net"),
        ("std::thread::spawn(f);", "std::thread"),
        ("use std::{fmt, fs};", "std::fs"),
        ("use std::{fmt,\n    net::{IpAddr}};", "std::net"),
        ("let x = rand::random();", "rand"),
        ("getrandom::fill(&mut bytes);", "getrandom"),
        ("let x: HashMap<u8, u8>;", "HashMap"),
        ("let x: HashSet<u8>;", "HashSet"),
        ("let now: SystemTime = f();", "SystemTime"),
        ("let now: Instant = f();", "Instant"),
        ("pub async fn f() {}", "async"),
    ] {
        let text = format!("//! A.\n\n{code}\n");
        plant("sync-core/src/a.rs", &text, &[&format!("sync-core/src/a.rs:3: sync-core must stay pure: {name}")]);
    }
    for name in ["axum", "tokio", "rusqlite", "reqwest", "sync_server", "sync_client_ffi"] {
        let wrong = check(&clean().with("sync-core/src/a.rs", &format!("//! A.\nuse {name}::x;\n")));
        let expected = format!("sync-core/src/a.rs:2: sync-core must not know {name}");
        assert!(wrong.contains(&expected), "{name} was not found: {wrong:?}");
    }
    plant(
        "sync-core/src/a.rs",
        "//! A.\n#[allow(clippy::disallowed_methods)]\nfn f() {}\n",
        &["sync-core/src/a.rs:2: sync-core must not lift its own bans"],
    );
}

#[test]
fn code_behind_a_test_is_looked_at_again() {
    let text = "//! A.\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {\n    fn f() {}\n}\nuse std::fs;\n";
    plant("sync-core/src/a.rs", text, &["sync-core/src/a.rs:8: sync-core must stay pure: std::fs"]);
}

#[test]
fn arrows_point_one_way() {
    for (path, code, name) in [
        ("sync-server/src/writer.rs", "use axum::Json;", "axum"),
        ("sync-server/src/writer.rs", "use rusqlite::Row;", "rusqlite"),
        ("sync-client-ffi/src/client.rs", "use rusqlite::Row;", "rusqlite"),
        ("sync-server/src/lib.rs", "use redis::Script;", "use redis"),
        ("sync-server/src/bus/memory.rs", "let client = redis::Client::open(url);", "redis::Client"),
        ("sync-client-ffi/src/client.rs", "#[uniffi::export]", "uniffi"),
        ("sync-client-ffi/src/lib.rs", "use uniffi::Object;", "uniffi"),
        ("sync-server/src/lib.rs", "use sync_client_ffi::Client;", "sync_client_ffi"),
        ("sync-client-ffi/src/client/store.rs", "use sync_server::Server;", "sync_server"),
    ] {
        plant(path, &format!("//! A.\n{code}\n"), &[&format!("{path}:2: must not name {name}")]);
    }
}

#[test]
fn sql_stays_in_the_stores() {
    for sql in
        ["\"SELECT 1\"", "r#\"\n  INSERT INTO t VALUES (1)\"#", "\"PRAGMA user_version\"", "\"\\\n   DELETE FROM t\""]
    {
        let text = format!("//! A.\nconst Q: &str = {sql};\n");
        plant("sync-server/src/bus.rs", &text, &["sync-server/src/bus.rs:2: SQL outside of a store"]);
    }
}

#[test]
fn manifests_keep_the_arrows_and_the_bans() {
    plant(
        "sync-core/Cargo.toml",
        "[dependencies]\nserde = \"1\"\nclock = { package = \"tokio\", version = \"1\" }\n",
        &["sync-core/Cargo.toml:1: tokio is not on the list of what sync-core may depend on"],
    );
    plant(
        "sync-server/Cargo.toml",
        "[target.'cfg(unix)'.dev-dependencies]\nsync-client-ffi.workspace = true\n",
        &["sync-server/Cargo.toml:1: must not depend on sync-client-ffi"],
    );
    plant(
        "sync-client-ffi/Cargo.toml",
        "[dependencies]\nsync-server = { path = \"../sync-server\" }\n",
        &["sync-client-ffi/Cargo.toml:1: must not depend on sync-server"],
    );
    let gap = CLIPPY.replace("\"std::env::var\", ", "");
    plant("sync-core/clippy.toml", &gap, &["sync-core/clippy.toml:1: must refuse std::env::var"]);
}
