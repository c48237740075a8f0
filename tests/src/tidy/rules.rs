//! The rules about single files: how they open, how long they are, and what they may name.

use super::source::{Source, names};

/// Past this a file has more than one subject.
const LINES_MAX: usize = 700;

/// What would make sync-core impure; `std` modules first.
const CORE_MODULES: [&str; 6] = ["time", "fs", "net", "thread", "env", "process"];
const CORE_NAMES: [&str; 7] = ["rand", "getrandom", "HashMap", "HashSet", "SystemTime", "Instant", "async"];

/// Who sync-core must not know.
const CORE_STRANGERS: [&str; 7] = ["axum", "tokio", "rusqlite", "reqwest", "sync_server", "sync_client_ffi", "uniffi"];

/// How a string that is SQL begins.
const SQL: [&str; 10] = [
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "CREATE INDEX ",
    "DROP TABLE ",
    "PRAGMA ",
    "BEGIN IMMEDIATE",
];

/// A word of which only some files may know, and those files: whole paths, or folders with a slash at the end.
struct Arrow {
    within: &'static str,
    name: &'static str,
    allowed: &'static [&'static str],
}

const SERVER_HTTP: [&str; 10] = [
    "sync-server/src/router.rs",
    "sync-server/src/router/",
    "sync-server/src/handlers.rs",
    "sync-server/src/handlers/",
    "sync-server/src/auth.rs",
    "sync-server/src/auth/",
    "sync-server/src/error.rs",
    "sync-server/src/error/",
    // These two hand the router out and serve it.
    "sync-server/src/lib.rs",
    "sync-server/src/main.rs",
];

const STORES: [&str; 4] = [
    "sync-server/src/store.rs",
    "sync-server/src/store/",
    "sync-client-ffi/src/client/store.rs",
    "sync-client-ffi/src/client/store/",
];

const FFI: [&str; 2] = ["sync-client-ffi/src/ffi.rs", "sync-client-ffi/src/ffi/"];

/// Who talks to Redis.
const REDIS: [&str; 5] = [
    "sync-server/src/bus/redis.rs",
    "sync-server/src/bus/redis/",
    "sync-server/src/limiter/redis.rs",
    "sync-server/src/limiter/redis/",
    "sync-server/tests/all/needs_redis/",
];

const ARROWS: [Arrow; 8] = [
    Arrow { within: "sync-server/", name: "axum", allowed: &SERVER_HTTP },
    Arrow { within: "sync-", name: "rusqlite", allowed: &STORES },
    Arrow { within: "sync-", name: "refinery", allowed: &STORES },
    Arrow { within: "sync-client-ffi/", name: "uniffi", allowed: &FFI },
    // Not the bare word: the configuration has a part of that name.
    Arrow { within: "sync-", name: "use redis", allowed: &REDIS },
    Arrow { within: "sync-", name: "redis::Client", allowed: &REDIS },
    Arrow { within: "sync-server/", name: "sync_client_ffi", allowed: &[] },
    Arrow { within: "sync-client-ffi/", name: "sync_server", allowed: &[] },
];

/// Whether the rules are about that file.
pub fn is_ours(path: &str) -> bool {
    let is_source = path.split_once("/src/").is_some_and(|(name, _)| name.starts_with("sync-") && !name.contains('/'));
    is_source && path.strip_suffix(".rs").is_some()
}

/// Checks one file of Rust.
pub fn check_file(path: &str, text: &str, source: &Source, wrong: &mut Vec<String>) {
    if !text.starts_with("//! ") {
        wrong.push(format!("{path}:1: does not open with a `//!` line that says what it is"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        wrong.push(format!("{path}:{lines}: longer than {LINES_MAX} lines: what is its second subject?"));
    }
    for (line, code) in source.code.iter().enumerate() {
        if code.contains("todo!") || code.contains("unimplemented!") {
            wrong.push(format!("{path}:{}: unfinished", line + 1));
        }
    }
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    if path.starts_with("sync-core/") && !is_test {
        core(path, source, wrong);
    }
    for arrow in &ARROWS {
        if path.starts_with(arrow.within) && !allows(arrow.allowed, path) {
            let lines = source.naming(arrow.name).filter(|line| !is_scaffolding(path, &source.code[line - 1]));
            wrong.extend(lines.map(|line| format!("{path}:{line}: must not name {}", arrow.name)));
        }
    }
    if !allows(&STORES, path) && !is_test {
        let sql = source.strings.iter().filter(|(_, string)| is_sql(string));
        wrong.extend(sql.map(|(line, _)| format!("{path}:{line}: SQL outside of a store")));
    }
}

fn allows(allowed: &[&str], path: &str) -> bool {
    allowed.iter().any(|place| if place.ends_with('/') { path.starts_with(place) } else { path == *place })
}

/// uniffi wants one line of its own in the crate's root.
fn is_scaffolding(path: &str, code: &str) -> bool {
    path == "sync-client-ffi/src/lib.rs" && code.trim_start().starts_with("uniffi::setup_scaffolding!")
}

fn is_sql(string: &str) -> bool {
    let string = string.trim_start();
    SQL.iter().any(|start| string.starts_with(start))
}

fn core(path: &str, source: &Source, wrong: &mut Vec<String>) {
    for name in CORE_STRANGERS {
        wrong.extend(source.naming(name).map(|line| format!("{path}:{line}: sync-core must not know {name}")));
    }
    for name in CORE_NAMES {
        wrong.extend(source.naming(name).map(|line| format!("{path}:{line}: sync-core must stay pure: {name}")));
    }
    for module in CORE_MODULES {
        let name = format!("std::{module}");
        wrong.extend(source.naming(&name).map(|line| format!("{path}:{line}: sync-core must stay pure: {name}")));
    }
    for (line, names_in_group) in std_groups(source) {
        for module in CORE_MODULES.iter().filter(|module| names(&names_in_group, module)) {
            wrong.push(format!("{path}:{line}: sync-core must stay pure: std::{module}"));
        }
    }
    for (line, code) in source.code.iter().enumerate() {
        if code.contains("clippy::disallowed") {
            wrong.push(format!("{path}:{}: sync-core must not lift its own bans", line + 1));
        }
    }
}

/// The insides of `std::{…}`, which would hide a module's name from a search for its path.
fn std_groups(source: &Source) -> Vec<(usize, String)> {
    let mut groups = Vec::new();
    for (line, code) in source.code.iter().enumerate() {
        let Some((_, opened)) = code.split_once("std::{") else { continue };
        let rest = source.code[line + 1..].iter().map(String::as_str);
        let whole: Vec<&str> = std::iter::once(opened).chain(rest).collect();
        let whole = whole.join(" ");
        groups.push((line + 1, whole.split(';').next().unwrap_or_default().to_owned()));
    }
    groups
}
