//! A store that several processes have open: the app writes it, a widget reads it, and either may be killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use sync_client_ffi::{Client, ClientError, EventKind, OpenError, SyncError, Value, path};
use sync_tests::rig::{PATIENCE, Seeded, device};

const KILLS: u64 = 100;

/// A process, and what it says, line by line.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(role: &str, store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_child"))
            .args([role.as_ref(), store.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (tell, lines): (Sender<String>, _) = channel();
        std::thread::spawn(move || {
            // A killed process may leave half a line.
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)).ok();
        });
        Self { child, input, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// SIGKILL; gives what it had said until then.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    /// What a widget sees now.
    fn read(&mut self) -> u64 {
        writeln!(self.input, "read").unwrap();
        loop {
            if let Ok(count) = self.line().parse() {
                return count;
            }
        }
    }
}

#[test]
fn a_widget_reads_while_the_app_writes_and_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut random = Seeded::new("reader");
    let mut widget: Option<Process> = None;
    let (mut acknowledged, mut reads) = (0u64, 0);
    for kill in 0..KILLS {
        let app = Process::start("write", &store);
        // The lock of the one that was killed is nobody's: this one writes.
        acknowledged = acknowledged.max(app.line().parse().unwrap());
        let widget = widget.get_or_insert_with(|| {
            let widget = Process::start("read", &store);
            assert_eq!(widget.line(), "ready");
            widget
        });
        for _ in 0..=random.below(3) {
            while let Ok(line) = app.lines.try_recv() {
                acknowledged = line.parse().unwrap();
            }
            let seen = widget.read();
            assert!(seen >= acknowledged, "kill {kill}: {seen} of {acknowledged} acknowledged edits");
            reads += 1;
        }
        let moment = Instant::now();
        while moment.elapsed().as_micros() < u128::from(random.below(5_000)) {
            std::hint::spin_loop();
        }
        if let Some(last) = app.kill().iter().filter_map(|line| line.parse().ok()).max() {
            acknowledged = last;
        }
        let seen = widget.read();
        assert!(seen >= acknowledged, "after kill {kill}: {seen} of {acknowledged} acknowledged edits");
        acknowledged = seen;
    }
    let said = widget.take().unwrap().kill();
    drop(said);
    // A widget that was killed leaves no lock either, and nothing is damaged.
    let app = Client::builder(&store).open().unwrap();
    let space = app.personal_space();
    let doc = app.open_doc(space, app.documents(space, None).unwrap()[0].id).unwrap();
    assert_eq!(doc.get("count").unwrap(), Some(Value::Counter(acknowledged as i64)));
    println!("{KILLS} kills, {reads} reads, {acknowledged} edits");
}

#[test]
fn a_reader_hears_of_what_the_writer_does_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let reading = || Client::builder(&store).read_only().open();
    assert!(matches!(reading(), Err(OpenError::NoStore { .. })));
    let app = Client::builder(&store).identity("ann", device(1)).open().unwrap();
    let space = app.personal_space();
    let doc = app.create(space, "notes").unwrap();
    let edit = |text: &str| {
        doc.edit(|edit| {
            edit.put("text", text);
        })
        .unwrap();
    };
    edit("one");
    let widget = reading().unwrap();
    assert!(widget.is_read_only() && !app.is_read_only());
    assert_eq!(widget.documents(space, None).unwrap(), app.documents(space, None).unwrap());
    let seen = widget.open_doc(space, doc.id()).unwrap();
    assert_eq!(seen.get("text").unwrap(), Some("one".into()), "what is in the journal is read");
    assert_eq!(widget.pending(space).unwrap(), app.pending(space).unwrap());

    let (tell, told) = channel();
    let (tell_list, told_list) = channel();
    let of_doc = seen.observe(move |event| tell.send(event.kind.clone()).unwrap());
    let of_list = widget.on_documents(space, move || tell_list.send(()).unwrap());
    edit("two");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), EventKind::LookAgain);
    assert_eq!(seen.get("text").unwrap(), Some("two".into()));
    assert!(told_list.try_recv().is_err(), "the list is what it was");
    let more = app.create(space, "notes").unwrap();
    told_list.recv_timeout(PATIENCE).unwrap();
    assert_eq!(widget.documents(space, None).unwrap().len(), 2);
    doc.seal().unwrap();
    assert_eq!(seen.get("text").unwrap(), Some("two".into()), "and what was sealed");
    app.delete(space, doc.id()).unwrap();
    while told.recv_timeout(PATIENCE).unwrap() != EventKind::Deleted {}
    assert!(matches!(seen.get("text"), Err(ClientError::Deleted(_))));
    assert_eq!(widget.documents(space, None).unwrap().len(), 1);
    drop((of_doc, of_list));

    let one = widget.open_doc(space, more.id()).unwrap();
    let put = one.edit(|edit| {
        edit.put("text", "mine");
    });
    assert!(matches!(put, Err(ClientError::ReadOnly)));
    assert!(matches!(widget.create(space, "notes"), Err(ClientError::ReadOnly)));
    assert!(matches!(widget.delete(space, more.id()), Err(ClientError::ReadOnly)));
    assert!(matches!(widget.start(), Err(ClientError::ReadOnly)));
    assert!(matches!(widget.sync_once(PATIENCE), Err(SyncError::ReadOnly)));
    assert_eq!(one.get(path![]).unwrap(), more.get(path![]).unwrap());

    // It reads on when the writer is gone, and when another one comes.
    drop((doc, more));
    drop(app);
    assert_eq!(widget.documents(space, None).unwrap().len(), 1);
    assert_eq!(reading().unwrap().documents(space, None).unwrap().len(), 1);
    let app = Client::builder(&store).open().unwrap();
    app.create(space, "notes").unwrap();
    assert_eq!(widget.documents(space, None).unwrap().len(), 2);
}

#[test]
fn a_reader_reads_what_a_kill_left_and_no_newer_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let app = Client::builder(&store).identity("ann", device(1)).open().unwrap();
    let space = app.personal_space();
    let doc = app.create(space, "notes").unwrap();
    doc.edit(|edit| {
        edit.put("text", "kept");
    })
    .unwrap();
    // What a kill leaves: the file and its log, without the index beside them.
    let image = folder.path().join("image");
    for suffix in ["", "-wal"] {
        std::fs::copy(format!("{}{suffix}", store.display()), format!("{}{suffix}", image.display())).unwrap();
    }
    let widget = Client::builder(&image).read_only().open().unwrap();
    assert_eq!(widget.open_doc(space, doc.id()).unwrap().get("text").unwrap(), Some("kept".into()));
    assert!(matches!(
        Client::builder(&image).identity("ben", device(1)).read_only().open(),
        Err(OpenError::OtherIdentity { .. })
    ));
    drop((doc, widget));
    drop(app);
    let newer = folder.path().join("newer");
    let mut bytes = std::fs::read(&store).unwrap();
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    std::fs::write(&newer, &bytes).unwrap();
    assert!(matches!(Client::builder(&newer).read_only().open(), Err(OpenError::Newer { found: 99, .. })));
    bytes[60..64].copy_from_slice(&1u32.to_be_bytes());
    std::fs::write(&newer, &bytes).unwrap();
    assert!(matches!(Client::builder(&newer).read_only().open(), Err(OpenError::Older { found: 1, .. })));
    assert_eq!(std::fs::read(&newer).unwrap(), bytes, "it is as it was");
}
