//! A real OpenID provider of the test's own: oidc-provider, in a process of Node's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::daemon::{folder_of, path};

/// What it consists of: the script, and what the script needs.
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../oidc/package.json")),
    ("package-lock.json", include_str!("../../oidc/package-lock.json")),
    ("provider.mjs", include_str!("../../oidc/provider.mjs")),
];
/// Where it is put together.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/oidc");

/// A provider that runs. It ends when this is dropped, or the test is gone.
pub struct Oidc {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    issuer: String,
}

impl Oidc {
    /// Where the provider is put together, or why it cannot be. npm fetches what is missing.
    pub fn find() -> Result<PathBuf, String> {
        for program in ["node", "npm"] {
            folder_of(&[program], path()).ok_or_else(|| format!("no {program} in PATH: install Node.js"))?;
        }
        install(Path::new(FOLDER)).map(|()| PathBuf::from(FOLDER))
    }

    /// Starts one whose access tokens are for `audience`.
    pub fn start(audience: &str) -> Self {
        let folder = Self::find().unwrap_or_else(|missing| panic!("{missing}"));
        let mut node = Command::new("node");
        node.arg(folder.join("provider.mjs")).arg(audience).current_dir(&folder);
        // Its warnings, that it is a provider for tests, are no news.
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = node.spawn().expect("node starts");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("its output")));
        let mut oidc = Self { child, input, output, issuer: String::new() };
        let first = oidc.hear();
        first["issuer"].as_str().expect("its issuer").clone_into(&mut oidc.issuer);
        oidc
    }

    /// Its issuer, which is where it listens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs with a new key from now on. Gives the ids of all that it shows, the newest first.
    pub fn add_key(&mut self) -> Vec<String> {
        self.tell("add")
    }

    /// Shows the newest key alone.
    pub fn drop_old_keys(&mut self) -> Vec<String> {
        self.tell("drop")
    }

    /// Names that device in access tokens from now on.
    pub fn name_device(&mut self, device: &str) {
        self.tell(&format!("device {device}"));
    }

    fn tell(&mut self, what: &str) -> Vec<String> {
        let input = self.input.as_mut().expect("its input");
        writeln!(input, "{what}").and_then(|()| input.flush()).expect("it listens");
        let answer = self.hear();
        let keys = answer["keys"].as_array().expect("its keys").iter();
        keys.map(|key| key.as_str().expect("an id").to_owned()).collect()
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the provider ended: {line}"))
    }
}

impl Drop for Oidc {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.wait().ok();
    }
}

/// By one process at a time. What was put together from other files is put together again.
fn install(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let done = folder.join("installed");
    let all = FILES.map(|(_, text)| text).concat();
    if fs::read_to_string(&done).is_ok_and(|installed| installed == all) {
        return Ok(());
    }
    for (name, text) in FILES {
        fs::write(folder.join(name), text).map_err(failed)?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder).stdin(Stdio::null());
    let output = npm.output().map_err(failed)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("npm cannot install oidc-provider: {}", text.lines().next().unwrap_or_default()));
    }
    fs::write(done, all).map_err(failed)
}
