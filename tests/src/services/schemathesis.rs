//! Schemathesis, which reads a description of an API and tries to prove it wrong, in an environment of Python's own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::daemon::{folder_of, path};

/// All that it consists of, by name and version.
const REQUIREMENTS: &str = include_str!("../../schemathesis/requirements.txt");
/// Ours, which helps it to requests that get somewhere.
const HOOKS: &str = include_str!("../../schemathesis/hooks.py");
/// Where it is put together.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/schemathesis");

/// Where it is put together.
pub struct Schemathesis(PathBuf);

impl Schemathesis {
    /// It, or why it cannot be had. pip fetches what is missing.
    pub fn find() -> Result<Self, String> {
        folder_of(&["python3"], path()).ok_or("no python3 in PATH: install Python 3.10 or later")?;
        let folder = Path::new(FOLDER);
        install(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Runs it with these arguments and variables. What it keeps between runs stays in a folder of this run's.
    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let run = tempfile::tempdir().expect("a temporary folder");
        let mut schemathesis = Command::new(self.0.join("venv/bin/schemathesis"));
        schemathesis.args(arguments).current_dir(run.path()).stdin(Stdio::null());
        schemathesis
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", &self.0)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "160");
        schemathesis.envs(variables.iter().copied()).output().expect("it starts")
    }
}

/// By one process at a time. What was put together from other files is put together again.
fn install(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    fs::write(folder.join("hooks.py"), HOOKS).map_err(failed)?;
    let done = folder.join("installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(());
    }
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(failed)?;
    let venv = folder.join("venv");
    let mut python = Command::new("python3");
    python.args(["-m", "venv", "--clear"]).arg(&venv);
    run(python, "python3 cannot make an environment (on Debian: python3-venv)")?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"]).arg(&requirements);
    run(pip, "pip cannot install schemathesis")?;
    fs::write(done, REQUIREMENTS).map_err(failed)
}

fn run(mut command: Command, failed: &str) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{failed}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(format!("{failed}: {}", text.lines().next_back().unwrap_or_default()))
}
