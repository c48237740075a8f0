//! The binary, as a parent process sees it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use sync_core::id::SpaceId;
use sync_server::{Role, SpacesResponse};

use crate::world::{client, frame};

fn binary(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null());
    // What the tests themselves may use is not for it.
    for variable in ["DATABASE_URL", "DATABASE_READ_URL", "REDIS_URL"] {
        command.env_remove(variable);
    }
    command
}

#[tokio::test]
async fn serves_says_where_and_stops_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut serve = binary(&data, &["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();

    let space = SpaceId::from_bytes([8; 16]).to_string();
    let set = ["members", "set", "--space", &space, "--user", "ann", "--role", "writer"];
    assert!(binary(&data, &set).status().unwrap().success(), "while the server runs");
    let token = binary(&data, &["token", "--user", "ann", "--device", "new", "--ttl", "15m"]).output().unwrap();
    assert!(token.status.success());
    let token = String::from_utf8(token.stdout).unwrap();
    assert_eq!(token.trim().split('.').count(), 3, "the token alone: {token}");
    let response = client().get(format!("{url}/v1/spaces")).bearer_auth(token.trim()).send().await.unwrap();
    let answer: SpacesResponse = frame(response).await;
    assert_eq!(answer.spaces.len(), 1);
    assert_eq!(answer.spaces[0].role, Role::Writer);

    let terminated = Command::new("kill").arg(serving.id().to_string()).status().unwrap();
    assert!(terminated.success());
    let mut logs = String::new();
    serving.stderr.take().unwrap().read_to_string(&mut logs).unwrap();
    assert!(serving.wait().unwrap().success(), "{logs}");
    assert!(!data.join("rejoin.sqlite-wal").exists(), "one file is left");
    let lines: Vec<serde_json::Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let request = lines.iter().find(|line| line["route"] == "/v1/spaces").unwrap();
    assert_eq!((&request["user"], &request["status"]), (&"ann".into(), &200.into()));
    for field in ["request_id", "device", "method", "latency_us", "bytes_in", "bytes_out"] {
        assert!(!request[field].is_null(), "{field}: {request}");
    }
    assert!(!logs.contains(token.trim()), "no token in the logs");
}

#[test]
fn migrates_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let first = String::from_utf8(binary(folder.path(), &["migrate"]).output().unwrap().stdout).unwrap();
    assert!(first.contains("applied V1__log"), "{first}");
    let second = String::from_utf8(binary(folder.path(), &["migrate"]).output().unwrap().stdout).unwrap();
    assert_eq!(second, "the schema is at version 2\n");
}

#[test]
fn refuses_what_it_does_not_understand() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["token", "--user", "ann", "--device", "phone"][..],
        &["token", "--user", "ann", "--device", "new", "--ttl", "soon"],
        &["token", "--user", "", "--device", "new"],
        &["members", "set", "--space", "x", "--user", "ann", "--role", "owner"],
        &["serve", "--config", "/no/such/file.toml"],
    ] {
        let output = binary(folder.path(), arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
