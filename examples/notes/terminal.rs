//! What is asked of the person at the terminal.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

/// An answer in one line. Without a person there, `otherwise` says how to give it.
pub fn ask(question: &str, otherwise: &str) -> Result<String, Box<dyn Error>> {
    if !io::stdin().is_terminal() {
        return Err(otherwise.into());
    }
    eprint!("{question}: ");
    io::stderr().flush()?;
    let answer = line(&mut io::stdin().lock())?;
    if answer.is_empty() { Err(otherwise.into()) } else { Ok(answer) }
}

/// A password: the first line of a file (`-` is standard input), or typed without being shown, twice where it is new.
pub fn password(file: Option<&Path>, is_new: bool) -> Result<String, Box<dyn Error>> {
    if let Some(file) = file {
        let password = if file == Path::new("-") {
            line(&mut io::stdin().lock())?
        } else {
            let text = fs::read(file).map_err(|error| format!("the password in {}: {error}", file.display()))?;
            line(&mut text.as_slice())?
        };
        return if password.is_empty() { Err("the password is empty".into()) } else { Ok(password) };
    }
    if !io::stdin().is_terminal() {
        return Err(
            "which password? There is no terminal to ask at: pass --password-file FILE, or - for standard input".into(),
        );
    }
    let password = rpassword::prompt_password("Password: ")?;
    if is_new && rpassword::prompt_password("The same again: ")? != password {
        return Err("the two are not the same: try again".into());
    }
    Ok(password)
}

fn line(input: &mut dyn BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
