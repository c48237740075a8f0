//! The `notes` example as its users run it: a process a command, on folders of their own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::seen::Seen;

/// A password that every server takes.
pub const PASSWORD: &str = "Correct-Horse-7";

/// The program. It is built if need be, with the features that all of the workspace's tests are built with.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("this test");
        let profile = test.ancestors().nth(2).expect("target/PROFILE/deps");
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args([
            "build",
            "--workspace",
            "--example",
            "notes",
        ]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let built = build.stderr(Stdio::piped()).output().expect("cargo");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile.join("examples").join("notes")
    })
}

/// A device: a folder that `notes` keeps its notes in.
pub struct Notes {
    folder: PathBuf,
    server: String,
    space: Option<String>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Whether it succeeded.
    pub fine: bool,
    /// What it printed, and on the other channel.
    pub out: String,
    /// What it printed as an error or a hint.
    pub err: String,
}

impl Ran {
    /// What it printed; it must have succeeded.
    #[track_caller]
    pub fn fine(self) -> String {
        assert!(self.fine, "{self:?}");
        self.out
    }

    /// What it complained of; it must have failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.fine, "{self:?}");
        self.err
    }
}

impl Notes {
    /// A device of that name below a folder, for a server.
    pub fn new(below: &Path, name: &str, server: &str) -> Self {
        Self { folder: below.join(name), server: server.to_owned(), space: None }
    }

    /// The same device, for notes in a shared space.
    #[must_use]
    pub fn within(&self, space: &str) -> Self {
        Self { folder: self.folder.clone(), server: self.server.clone(), space: Some(space.to_owned()) }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command, to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--store").arg(&self.folder).args(["--server", &self.server]).args(arguments);
        for variable in ["NOTES_STORE", "NOTES_SPACE", "NOTES_SERVER", "NOTES_TOKEN"] {
            command.env_remove(variable);
        }
        if let Some(space) = &self.space {
            command.args(["--space", space]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("notes");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Ran { fine: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command that asks for a password.
    pub fn run_with_password(&self, arguments: &[&str], password: &str) -> Ran {
        let file = self.folder.with_extension("password");
        std::fs::write(&file, format!("{password}\n")).expect("a file");
        let file = file.to_str().expect("a name");
        self.run(&[arguments, &["--password-file", file]].concat())
    }

    /// Makes an account and signs in.
    #[track_caller]
    pub fn sign_up(&self, email: &str, name: &str) -> String {
        self.run_with_password(&["signup", "--email", email, "--display-name", name], PASSWORD).fine()
    }

    /// Signs in.
    pub fn login(&self, email: &str) -> Ran {
        self.run_with_password(&["login", "--email", email], PASSWORD)
    }

    /// Starts a command that goes on, and shows its lines as they come.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).spawn().expect("notes");
        let lines = Seen::default();
        let (told, out) = (lines.clone(), child.stdout.take().expect("its output"));
        // Ends with the process.
        std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).for_each(|line| told.see(line)));
        Running { child, lines }
    }
}

/// A command that goes on, until it is dropped.
pub struct Running {
    child: Child,
    /// What it prints.
    pub lines: Seen<String>,
}

impl Running {
    /// Waits for a line with that in it, and gives it.
    #[track_caller]
    pub fn shows(&self, part: &str) -> String {
        self.lines.wait(|lines| lines.iter().map(|(_, line)| line).find(|line| line.contains(part)).cloned())
    }

    /// Waits until it ends by itself; whether it did well.
    pub fn ends(mut self) -> bool {
        self.child.wait().expect("its end").success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
