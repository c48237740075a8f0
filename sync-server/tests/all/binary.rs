//! The binary, as a parent process sees it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sync_core::id::SpaceId;
use sync_core::wire::account::{Role, SpacesResponse};

use crate::world::{client, frame};

/// The program on a data folder, and on nothing that the environment names.
pub fn binary(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-server"));
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null());
    // What the tests themselves may use is not for it.
    for variable in ["DATABASE_URL", "DATABASE_READ_URL", "REDIS_URL"] {
        command.env_remove(variable);
    }
    command
}

/// A server of its own process, which ends with this.
pub struct Serving {
    pub url: String,
    process: Child,
}

impl Serving {
    /// On a free port, and on nothing that the environment names.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut serve = binary(data, &[&["serve", "--listen", "127.0.0.1:0", "--log", "error"], arguments].concat());
        let mut process = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("it serves").to_owned();
        Self { url, process }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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

    let health =
        |url: &str| Command::new(env!("CARGO_BIN_EXE_sync-server")).args(["health", "--url", url]).output().unwrap();
    assert!(health(&url).status.success());
    assert!(health(&format!("{url}/")).status.success());
    let not_there = health(&format!("{url}/elsewhere"));
    assert!(!not_there.status.success() && String::from_utf8_lossy(&not_there.stderr).contains("404"), "{not_there:?}");

    let space = SpaceId::from_bytes([8; 16]).to_string();
    let set = ["members", "set", "--space", &space, "--user", "ann", "--role", "writer"];
    assert!(binary(&data, &set).status().unwrap().success(), "while the server runs");
    let token = binary(&data, &["token", "--user", "ann", "--device", "new", "--ttl", "15m"]).output().unwrap();
    assert!(token.status.success());
    let told = String::from_utf8(token.stderr).unwrap();
    assert!(told.contains("900 s, but not beyond the second `keys rotate`"), "{told}");
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
    assert!(!health(&url).status.success(), "nobody is there any more");
}

#[test]
fn seeds_and_says_how_to_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["seed", "--users", "3", "--spaces", "1", "--documents", "2", "--changes", "3"];
    let first = String::from_utf8(binary(folder.path(), &small).output().unwrap().stdout).unwrap();
    assert!(first.contains("users: ann, ben, chloe") && first.contains("items: 8 added, 0 were"), "{first}");
    assert!(first.contains("sync-server token --user ann --device new"), "{first}");
    let second = String::from_utf8(binary(folder.path(), &small).output().unwrap().stdout).unwrap();
    assert!(second.contains("items: 0 added, 8 were"), "{second}");
}

#[cfg(unix)]
#[test]
fn makes_keys_that_a_read_only_folder_serves() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let make = || Command::new(env!("CARGO_BIN_EXE_sync-server")).args(["keys", "make"]).arg(&keys).output().unwrap();
    let id = String::from_utf8(make().stdout).unwrap();
    assert_eq!(id.trim().len(), 16, "{id}");
    assert_eq!(fs::metadata(keys.join("receipt.key")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(keys.join("keys.lock")).unwrap();
    fs::set_permissions(&keys, Permissions::from_mode(0o500)).unwrap();
    assert_eq!(String::from_utf8(make().stdout).unwrap(), id);
    assert!(!keys.join("keys.lock").exists(), "nothing was written");
    fs::set_permissions(&keys, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn migrates_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let first = String::from_utf8(binary(folder.path(), &["migrate"]).output().unwrap().stdout).unwrap();
    assert!(first.contains("applied V1__log"), "{first}");
    let second = String::from_utf8(binary(folder.path(), &["migrate"]).output().unwrap().stdout).unwrap();
    assert!(second.starts_with("the schema is at version "), "{second}");
    assert_eq!(first.lines().last(), second.lines().next(), "nothing was applied");
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
        &["seed", "--users", "0"],
    ] {
        let output = binary(folder.path(), arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn rotates_keys_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = binary(folder.path(), arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (done, _, error) = run(&["keys", "rotate"]);
    assert!(!done && error.contains("no signing-key.pem to rotate"), "{error}");
    let kid = || {
        let (_, token, _) = run(&["token", "--user", "ann", "--device", "new"]);
        jsonwebtoken::decode_header(token.trim()).unwrap().kid.unwrap()
    };
    let first = kid();
    let (done, out, error) = run(&["keys", "rotate"]);
    assert!(!done && out.is_empty() && error.contains("nodes and tokens need an hour"), "{error}");
    assert_eq!(kid(), first);
    let (done, out, error) = run(&["keys", "rotate", "--force"]);
    assert!(done, "{error}");
    let second = kid();
    assert!(out.contains(&format!("signs now        {second}\nsigned before    {first}\n")), "{out}");
    assert!(out.contains("signing-key.previous.pem"), "it says what to copy: {out}");
}
