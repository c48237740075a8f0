//! The rules about manifests: who depends on whom, what sync-core may depend on, and which bans clippy holds for it.

use toml::{Table, Value};

use super::tree::Tree;

/// Libraries without I/O, clock or global randomness of their own on the paths that sync-core uses.
const CORE_DEPENDENCIES: [&str; 13] = [
    "automerge",
    "base64",
    "hmac",
    "rmp-serde",
    "serde",
    "serde_bytes",
    "serde_json",
    "serde_path_to_error",
    "sha2",
    "thiserror",
    "utoipa",
    "uuid",
    "zstd",
];

/// What sync-core's `clippy.toml` must refuse, whatever else it does.
const CORE_BANS: [&str; 9] = [
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "std::thread::spawn",
    "std::fs::File::open",
    "std::net::TcpStream::connect",
    "std::env::var",
    "uuid::Uuid::new_v4",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

/// A crate, and those of ours that it must not depend on.
const APART: [(&str, &[&str]); 3] = [
    ("sync-core", &["sync-server", "sync-client-ffi"]),
    ("sync-server", &["sync-client-ffi"]),
    ("sync-client-ffi", &["sync-server"]),
];

/// Checks the manifests.
pub fn check(tree: &Tree, wrong: &mut Vec<String>) {
    for (name, strangers) in APART {
        let path = format!("{name}/Cargo.toml");
        let Some(manifest) = parse(tree, &path, wrong) else { continue };
        for (kind, dependency) in dependencies(&manifest) {
            if strangers.contains(&dependency.as_str()) {
                wrong.push(format!("{path}:1: must not depend on {dependency}"));
            }
            let is_listed = CORE_DEPENDENCIES.contains(&dependency.as_str());
            if name == "sync-core" && kind != "dev-dependencies" && !is_listed {
                wrong.push(format!("{path}:1: {dependency} is not on the list of what sync-core may depend on"));
            }
        }
    }
    let path = "sync-core/clippy.toml";
    if let Some(bans) = parse(tree, path, wrong) {
        let banned = banned(&bans);
        let missing = CORE_BANS.iter().filter(|ban| !banned.contains(ban));
        wrong.extend(missing.map(|ban| format!("{path}:1: must refuse {ban}")));
    }
}

fn parse(tree: &Tree, path: &str, wrong: &mut Vec<String>) -> Option<Table> {
    let Some(text) = tree.text(path) else {
        wrong.push(format!("{path}:1: missing"));
        return None;
    };
    match text.parse() {
        Ok(table) => Some(table),
        Err(error) => {
            wrong.push(format!("{path}:1: {error}"));
            None
        }
    }
}

/// Kinds and names of all dependencies, also those of single platforms; the name is the package's own, not an alias.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(platforms.filter_map(Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (alias, dependency) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let package = dependency.get("package").and_then(Value::as_str).unwrap_or(alias);
                found.push((kind, package.to_owned()));
            }
        }
    }
    found
}

fn banned(bans: &Table) -> Vec<&str> {
    let lists = ["disallowed-methods", "disallowed-types"].into_iter().filter_map(|list| bans.get(list)?.as_array());
    lists.flatten().filter_map(|ban| ban.as_str().or_else(|| ban.get("path")?.as_str())).collect()
}
