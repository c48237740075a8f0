//! 10,000 keystrokes made offline in one document reach the server, and from there a fresh second client.

use std::time::{Duration, Instant};

use sync_client_ffi::{Client, Value};
use sync_examples::proxy::Proxy;
use sync_tests::rig::{ServerProcess, device, token};

use crate::{Figure, quantiles};

const KEYSTROKES: u64 = 10_000;
const REPEATS: usize = 5;
const PATIENCE: Duration = Duration::from_mins(1);
const PROSE: &str = include_str!("../../LICENSE-APACHE");

pub fn measure() -> Vec<Figure> {
    let (mut ups, mut downs, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bytes_up, mut bytes_down, mut changes) = (0.0, 0.0, 0);
    for _ in 0..REPEATS {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("server");
        let program = std::env::current_exe().expect("this program");
        let server = ServerProcess::start(&program, &data);
        let proxy = Proxy::start(server.address()).expect("a proxy");
        let phone = |number: u8| {
            let client = Client::builder(folder.path().join(number.to_string()));
            let client = client.server(format!("http://{}", proxy.address()));
            client.token(token(&data, "ann", device(number))).open().expect("a phone")
        };
        let writer = phone(1);
        let space = writer.personal_space();
        let doc = writer.create(space, "notes").expect("a document");
        doc.edit(|edit| {
            edit.put("text", Value::Text(String::new()));
        })
        .expect("a text");
        for (at, letter) in (0..KEYSTROKES).zip(PROSE.chars().cycle()) {
            doc.edit(|edit| {
                edit.splice("text", at, 0, letter.to_string());
            })
            .expect("a keystroke");
        }
        let before = proxy.traffic();
        let began = Instant::now();
        writer.sync_once(PATIENCE).expect("an upload");
        let up = began.elapsed().as_secs_f64() * 1e3;
        let between = proxy.traffic();
        let reader = phone(2);
        let began = Instant::now();
        reader.sync_once(PATIENCE).expect("a download");
        let same = reader.open_doc(space, doc.id()).expect("the document");
        assert_eq!(same.length("text").expect("its text"), Some(KEYSTROKES));
        let down = began.elapsed().as_secs_f64() * 1e3;
        let after = proxy.traffic();
        assert_eq!(same.text("text").expect("its text"), doc.text("text").expect("its text"));
        ups.push(up);
        downs.push(down);
        both.push(up + down);
        bytes_up = (between.up - before.up) as f64 / KEYSTROKES as f64;
        bytes_down = (after.down - between.down) as f64 / KEYSTROKES as f64;
        changes = writer.feed(space).expect("the feed").n - 1;
    }
    let ((up, _), (down, _), (both, _)) = (quantiles(ups), quantiles(downs), quantiles(both));
    vec![
        Figure::against(
            "10,000 keystrokes offline: bytes a keystroke up / down, whole HTTP",
            format!("{bytes_up:.2} / {bytes_down:.2}"),
            "≤ 3 each way",
            bytes_up <= 3.0 && bytes_down <= 3.0,
        ),
        Figure::against("changes they became", changes.to_string(), "≤ 20", changes <= 20),
        Figure::against(
            "to the server + to a fresh client that opens the document",
            format!("{up:.0} + {down:.0} = {both:.0} ms"),
            "< 250 ms",
            both < 250.0,
        ),
    ]
}
