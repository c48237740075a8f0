//! `sync-server devices`, beside a server that runs; and what its log says of a theft.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sync_core::id::{DeviceId, SpaceId};
use sync_core::ledger::Role;
use sync_core::wire::ErrorCode;
use sync_server::{Config, Server};

use crate::binary::binary;
use crate::cuts::{Open, quiet};
use crate::devices::{phone, signed_in};
use crate::world::{World, client};

async fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = binary(data, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn lines(output: &Output) -> Vec<&str> {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

#[tokio::test]
async fn an_operator_lists_devices_and_revokes_one_or_all_of_a_user() {
    let world = World::with(quiet()).await;
    let data = world.folder.path();
    let (one, two, eve) =
        (signed_in(&world, "ann").await, signed_in(&world, "ann").await, signed_in(&world, "eve").await);
    let three = signed_in(&world, "ann").await;
    let listed = run(data, &["devices", "list", "--user", "ann"]).await;
    let line = |of: DeviceId| format!("{of}  Phone  ios  1.0.0  0s ago  signed in");
    let (told, expected) = (lines(&listed), [line(one.device), line(two.device), line(three.device)]);
    let seconds = |line: &str| line.split("  ").filter(|word| !word.ends_with(" ago")).collect::<Vec<_>>().join("  ");
    assert_eq!(told.iter().map(|line| seconds(line)).collect::<Vec<_>>(), expected.map(|line| seconds(&line)));

    // Nothing tells the server: it has no Redis.
    let mut others = [Open::at(&world, &two).await, Open::at(&world, &three).await, Open::at(&world, &eve).await];
    let open = Open::at(&world, &one).await;
    let id = one.device.to_string();
    for revoked in [&[id.as_str()][..], &[]] {
        let output = run(data, &["devices", "revoke", "--user", "ann", "--device", &id]).await;
        assert_eq!(lines(&output), revoked, "once");
    }
    open.ends(ErrorCode::DeviceRevoked).await;
    for other in &mut others {
        other.goes_on().await;
    }
    let output = run(data, &["devices", "revoke", "--user", "ann", "--all"]).await;
    assert_eq!(lines(&output), [two.device.to_string(), three.device.to_string()]);
    let [at_two, at_three, mut at_eve] = others;
    at_two.ends(ErrorCode::DeviceRevoked).await;
    at_three.ends(ErrorCode::DeviceRevoked).await;
    at_eve.goes_on().await;

    // Each is in the audit log once, as done by nobody who called.
    let audit = run(data, &["audit", "--json", "--kind", "device.revoked", "--user", "ann"]).await;
    let events: Vec<serde_json::Value> = lines(&audit).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut about: Vec<&str> = events.iter().map(|event| event["device"].as_str().unwrap()).collect();
    let mut expected = [&one, &two, &three].map(|tokens| tokens.device.to_string());
    about.sort_unstable();
    expected.sort_unstable();
    assert_eq!(about, expected);
    for event in &events {
        assert!(event["detail"] == "by an operator" && event["request_id"].is_null(), "{event}");
    }

    let foreign = DeviceId::from_bytes([9; 16]).to_string();
    for wrong in [&["--user", "ann"][..], &["--user", "ann", "--device", &foreign], &["--device", &id, "--all"]] {
        let output = run(data, &[&["devices", "revoke"], wrong].concat()).await;
        assert!(!output.status.success() && output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

#[tokio::test]
async fn memberships_that_an_operator_or_the_app_sets_are_in_the_audit_log() {
    let world = World::new().await;
    let data = world.folder.path();
    let space = SpaceId::from_bytes([7; 16]);
    let text = space.to_string();
    for role in ["owner", "reader", "none"] {
        let set = ["members", "set", "--space", &text, "--user", "ann", "--role", role];
        assert!(run(data, &set).await.status.success());
    }
    world.server.set_role(space, "bob", Some(Role::Writer)).await.unwrap();
    world.server.set_role(space, "bob", None).await.unwrap();
    let audit = run(data, &["audit", "--json", "--space", &text]).await;
    let mut told = Vec::new();
    for line in lines(&audit) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            event["request_id"].is_null() && event["device"].is_null() && event["space"] == text.as_str(),
            "{event}"
        );
        told.push(["audit", "user", "detail"].map(|field| event[field].as_str().unwrap().to_owned()));
    }
    let mut expected = [
        ["member.role_changed", "ann", "to owner, by an operator"],
        ["member.role_changed", "ann", "to reader, by an operator"],
        ["member.removed", "ann", "by an operator"],
        ["member.role_changed", "bob", "to writer, by the app"],
        ["member.removed", "bob", "by the app"],
    ];
    // Those of one millisecond come in any order.
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_theft_is_in_the_log_once_and_no_token_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut serving = binary(&data, &["serve", "--listen", "127.0.0.1:0", "--log", "debug"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    // An app on the same database, which signs people in by its own means.
    let app = Server::builder().config(Config::default()).data(&data).build().await.unwrap();
    let first = app.begin_session("ann", None, phone("Phone")).await.unwrap();
    let refresh = async |token: &str| {
        let body = format!("grant_type=refresh_token&refresh_token={token}&device_id={}", first.device);
        let request = client().post(format!("{url}/v1/oauth/token"));
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await;
        serde_json::from_slice::<serde_json::Value>(&answer.unwrap().bytes().await.unwrap()).unwrap()
    };
    let mut tokens = vec![first.refresh_token.0.clone()];
    for _ in 0..2 {
        let next = refresh(tokens.last().unwrap()).await;
        tokens.push(next["refresh_token"].as_str().unwrap().to_owned());
    }
    for token in [&tokens[0], &tokens[0], &tokens[1], &tokens[2]] {
        assert_eq!(refresh(token).await["error"], "invalid_grant");
    }
    app.shutdown().await;
    assert!(Command::new("kill").arg(serving.id().to_string()).status().unwrap().success());
    let mut logs = String::new();
    serving.stderr.take().unwrap().read_to_string(&mut logs).unwrap();
    serving.wait().unwrap();
    let lines: Vec<serde_json::Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let thefts: Vec<_> = lines.iter().filter(|line| line["audit"] == "session.refresh_theft").collect();
    let [theft] = &thefts[..] else { panic!("{thefts:?}") };
    assert_eq!((&theft["user"], &theft["device"]), (&"ann".into(), &first.device.to_string().into()));
    let request = lines.iter().find(|line| line["message"] == "request" && line["request_id"] == theft["request_id"]);
    assert_eq!(request.unwrap()["route"], "/v1/oauth/token");
    for token in tokens {
        assert!(!logs.contains(&token) && !logs.contains(&token["rjr_".len()..]), "no token in the logs");
    }
}
