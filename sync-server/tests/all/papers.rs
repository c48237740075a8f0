//! The papers say what is so: the threat model has a row for every route, and the runbook's commands run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::Method;
use serde_json::json;

use crate::binary::Serving;
use crate::world::client;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(DOCS).join(name)).unwrap()
}

/// The cells of the table under a heading, without its head.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What of the rows is not so of these routes.
fn differences(rows: &[Vec<String>], routes: &BTreeSet<String>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows {
        let route = row[0].trim_matches('`').to_owned();
        if !routes.contains(&route) {
            differences.push(format!("{route} is no route"));
        }
        // A cell that says nothing was not thought about.
        if row.len() != 7 || row.iter().any(|cell| cell.is_empty() || cell == "-") {
            differences.push(format!("{route} lacks one of the six"));
        }
        if !seen.insert(route.clone()) {
            differences.push(format!("{route} twice"));
        }
    }
    differences.extend(routes.difference(&seen).map(|route| format!("{route} has no row")));
    differences
}

#[test]
fn the_threat_model_has_a_row_for_every_route() {
    let text = read("threat-model.md");
    let rows = table(&text, "Routes");
    let routes: BTreeSet<String> = sync_server::routes().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(differences(&rows, &routes), [""; 0]);

    // And what differs is found.
    let sync = "POST /v1/sync".to_owned();
    let mut less = routes.clone();
    less.remove(&sync);
    assert_eq!(differences(&rows, &less), [format!("{sync} is no route")]);
    assert_eq!(differences(&rows[1..], &routes), [format!("{sync} has no row")]);
    let mut hollow = rows.clone();
    hollow[0][3] = "-".to_owned();
    assert_eq!(differences(&hollow, &routes), [format!("{sync} lacks one of the six")]);
}

#[test]
fn every_letter_in_the_threat_model_is_a_defence() {
    let text = read("threat-model.md");
    let known: BTreeSet<String> =
        table(&text, "Defences").into_iter().map(|row| row[0].trim_matches('*').to_owned()).collect();
    assert!(known.len() > 10, "{known:?}");
    let mut used = BTreeSet::new();
    for row in table(&text, "Routes") {
        let words = row[1..].iter().flat_map(|cell| cell.split(|other: char| !other.is_alphanumeric()));
        used.extend(words.filter(|word| word.len() == 1 && word.chars().all(char::is_uppercase)).map(str::to_owned));
    }
    assert!(used.is_subset(&known), "{:?}", used.difference(&known).collect::<Vec<_>>());
}

/// A block of commands, and what its fence says of it.
struct Block {
    mark: String,
    commands: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(mark)) => {
                open = Some(Block { mark: mark.trim().to_owned(), commands: String::new(), line: at + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.commands.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks.retain(|block| block.mark.split(' ').next() == Some("sh"));
    blocks
}

/// What a block needs beside the server, in words, and whether it is there.
fn lacks(block: &Block) -> Option<String> {
    let (_, needs) = block.mark.split_once("needs ")?;
    let lacking = needs.split(" and ").find(|needed| {
        let is_variable = needed.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if is_variable { std::env::var_os(needed).is_none() } else { !is_program(needed) }
    });
    lacking.map(str::to_owned)
}

fn is_program(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Runs it as it stands, by a shell that stops at the first command that fails.
fn run(block: &Block, environment: &BTreeMap<&str, String>) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &block.commands]).stdin(Stdio::null());
    // The embedded server of this test, whatever else the environment names; a block that needs that says so.
    for variable in ["DATABASE_URL", "DATABASE_READ_URL", "REDIS_URL", "REJOIN_KEYS", "REJOIN_CONFIG"] {
        if !block.mark.contains(variable) {
            bash.env_remove(variable);
        }
    }
    bash.envs(environment).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_runbook_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serving = Serving::start(&data, &[]);

    // Somebody with a device, so that there is something to be revoked.
    let post = async |path: &str, body: serde_json::Value| {
        let request =
            client().request(Method::POST, format!("{}{path}", serving.url)).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        serde_json::from_slice::<serde_json::Value>(&response.bytes().await.unwrap()).unwrap()
    };
    let (email, password) = ("ann@example.com", "Correct-horse-9");
    post("/v1/accounts", json!({"schema": 1, "email": email, "password": password, "display_name": "Ann"})).await;
    let proof = json!({"password": {"email": email, "password": password}});
    let device = json!({"name": "phone", "platform": "ios", "app_version": "1.0"});
    let tokens = post("/v1/devices", json!({"schema": 1, "proof": proof, "device": device})).await;

    let binary = Path::new(env!("CARGO_BIN_EXE_sync-server")).parent().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let environment = BTreeMap::from([
        ("PATH", path),
        ("REJOIN_DATA", data.display().to_string()),
        ("REJOIN_URL", serving.url.clone()),
        ("USER_ID", text(&tokens["user"])),
        ("DEVICE", text(&tokens["device"])),
        ("SPACE", "6f9d0e3c-8f52-4c55-9b57-3a1c9d2f7b11".to_owned()),
        ("BACKUPS", folder.path().join("backups").display().to_string()),
    ]);
    let blocks = blocks(&read("runbook.md"));
    let (mut ran, mut left_out) = (0, Vec::new());
    for block in &blocks {
        if let Some((_, reason)) = block.mark.split_once("elsewhere: ") {
            left_out.push(format!("line {}: {reason}", block.line));
            continue;
        }
        if let Some(lacking) = lacks(block) {
            left_out.push(format!("line {}: needs {lacking}", block.line));
            continue;
        }
        assert!(block.mark == "sh" || block.mark.starts_with("sh needs "), "line {}: {}", block.line, block.mark);
        let output = run(block, &environment);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "line {} of the runbook fails:\n{}{said}", block.line, block.commands);
        ran += 1;
    }
    println!("{ran} blocks of the runbook ran, {} did not:\n{}", left_out.len(), left_out.join("\n"));
    assert!(ran >= 15, "only {ran} ran");
    let elsewhere = blocks.iter().filter(|block| block.mark.contains("elsewhere: ")).count();
    assert!(elsewhere <= 5, "too much of it runs elsewhere");

    // The commands did what they say: the device is gone, and the server still serves.
    let list =
        Block { mark: "sh".to_owned(), commands: "sync-server devices list --user \"$USER_ID\"".to_owned(), line: 0 };
    let listed = run(&list, &environment);
    assert!(listed.status.success() && listed.stdout.is_empty(), "{}", String::from_utf8_lossy(&listed.stdout));
    assert_eq!(client().get(format!("{}/readyz", serving.url)).send().await.unwrap().status(), 200);

    // And a command that does not run is found.
    let broken = Block { mark: "sh".to_owned(), commands: "sync-server keys turn\ntrue\n".to_owned(), line: 0 };
    assert!(!run(&broken, &environment).status.success());
}
