//! Nothing that is secret reaches a log, whoever wrote the line: fields are judged by their names, and texts by their shapes.
//!
//! This is the last line of defence. Before it, handlers log no input, frames show no secret when they are printed, and
//! libraries, which quote what they cannot read, are not heard below INFO (see [`init`](super::init)).
//!
//! Most lines have nothing that looks like one: they are read once and pass as they are. The others are parsed.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::LazyLock;

use regex::{Captures, Regex, bytes};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

/// What stands in its place.
pub(crate) const REDACTED: &str = "(redacted)";

/// Names of fields whose value is secret, whatever it looks like; without case, `-` is as `_`. Whole names, or what follows
/// the last `_` of a longer one, so that `new_password` is one, too.
const NAMES: [&str; 31] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "email",
    "jwt",
    "assertion",
    "nonce",
    "verifier",
    "signature",
    "otp",
    "pin",
    "bearer",
    // These are not secret by their last word.
    "set_cookie",
    "api_key",
    "private_key",
    "access_key",
    "idempotency_key",
    "user_code",
    "device_code",
    "auth_code",
    "code_challenge",
    "display_name",
    "device_name",
    "invite_code",
];
/// A field of this name holds a word of ours (`not_found`), a number, or an authorization code.
const CODE: &str = "code";
const CODE_WORD_BYTES_MAX: usize = 40;
/// These are made by the server: digits in them are no card's.
const OWN: [&str; 6] = ["timestamp", "request_id", "connection", "device", "space", "audit_id"];
/// Users' names may be addresses, and a log that does not say whose request it was is none.
const USER: &str = "user";

/// Whether a line is worth a closer look. It may be wrong in that direction alone. Every line is read by it, so it counts
/// nothing and looks at no word's end: then it is one pass of a small automaton.
static SUSPICIOUS: LazyLock<bytes::Regex> = LazyLock::new(|| {
    let names = r#"passw|passphrase|pwd|secret|token|authorization|cookie|credential|e-?mail|jwt|assertion|nonce|verifier|signature|otp"|pin"|bearer|basic|dpop|digest|[a-z][_-]key|(?:user|device|auth|invite)[_-]code|code[_-]challenge|(?:display|device)[_-]name"#;
    let code = r#""code":"[a-z_]*[^a-z_"]|[?&]code"#;
    let shapes = "eyj|rj[a-z]_|(?:sk|pk|rk)[_-]|gh[a-z]_|xox[a-z]-|akia|aiza|://|:%2f|@|%40|private key-";
    compile(bytes::Regex::new(&format!("(?i-u){names}|{code}|{shapes}")))
});
/// So many digits, alone or in groups, may be a card's.
const CARD_DIGITS_MIN: usize = 13;

/// Whether there are so many digits in a row, with at most one space or hyphen between two of them.
fn has_many_digits(line: &[u8]) -> bool {
    let (mut digits, mut before) = (0, b' ');
    for &byte in line {
        if byte.is_ascii_digit() {
            digits += 1;
            if digits >= CARD_DIGITS_MIN {
                return true;
            }
        } else if !(before.is_ascii_digit() && matches!(byte, b' ' | b'-')) {
            digits = 0;
        }
        before = byte;
    }
    false
}

/// What looks like a secret, and goes as a whole.
static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
    // Signed and encrypted tokens, ours, those of others whose prefix tells, and keys.
    let shapes = [
        r"eyJ[A-Za-z0-9_-]{8,}(?:(?:\.|%2E|%2e)[A-Za-z0-9_-]*)*",
        r"\brj[a-z]_[A-Za-z0-9_.~-]{6,}",
        r"\b(?:sk|pk|rk)[_-][A-Za-z0-9_-]{12,}",
        r"\bgh[pousr]_[A-Za-z0-9]{16,}",
        r"\bxox[a-z]-[A-Za-z0-9-]{8,}",
        r"\bAKIA[0-9A-Z]{12,}",
        r"\bAIza[0-9A-Za-z_-]{20,}",
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    ];
    compile(Regex::new(&shapes.map(|shape| format!("(?:{shape})")).join("|")))
});

/// What follows the name of a scheme.
static SCHEMES: LazyLock<Regex> =
    LazyLock::new(|| compile(Regex::new(r"(?i)\b(bearer|basic|dpop|digest)((?:\s|%20|\+)+)[A-Za-z0-9._~+/=%-]{4,}")));

/// `password=…`, `"token": "…"`, `Password("…")`: in forms, URLs, JSON within a text, and what Rust prints of its own.
static PAIRS: LazyLock<Regex> = LazyLock::new(|| {
    let name = r"(?:[A-Za-z0-9_-]*(?:password|passwd|pwd|passphrase|secret|token|authorization|cookie|credentials?|email|e-mail|jwt|assertion|verifier)|[A-Za-z0-9]+[_-]key|(?:user|device|auth|invite)[_-]code|(?:display|device)[_-]name)";
    let value = r#"(?:\\*"(?:[^"\\]|\\[^"])*\\*"?|'[^']*'?|[^\s"'&,;)}\]\\]+)"#;
    let between = r#"(?:\\*["'])?\s*(?:[=:(]|%3[DdAa])\s*(?:Some\()?"#;
    compile(Regex::new(&format!(r"(?i)\b({name})({between}){value}")))
});

/// The same of a name that is too common elsewhere.
static QUERY_CODE: LazyLock<Regex> = LazyLock::new(|| compile(Regex::new(r"(?i)([?&]code(?:=|%3d))[^\s&,;#]+")));

/// `scheme://user:password@host`.
static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| compile(Regex::new(r"(?i)(:(?:/|%2f){2})[^\s/@?#]*?(?:@|%40)")));

/// An address of somebody.
static ADDRESSES: LazyLock<Regex> =
    LazyLock::new(|| compile(Regex::new(r"(?i)[a-z0-9._+-]+(?:@|%40)[a-z0-9-]+(?:\.[a-z0-9-]+)+")));

/// Digits as they stand on cards.
static CARDS: LazyLock<Regex> = LazyLock::new(|| compile(Regex::new(r"[2-6](?:[ -]?[0-9]){12,18}")));

/// All of them are constants, and a test uses each.
fn compile<T>(built: Result<T, regex::Error>) -> T {
    match built {
        Ok(built) => built,
        Err(error) => unreachable!("a constant expression: {error}"),
    }
}

/// A line of JSON as it may be written.
pub(crate) fn line(line: &[u8]) -> Cow<'_, [u8]> {
    if !has_many_digits(line) && !SUSPICIOUS.is_match(line) {
        return Cow::Borrowed(line);
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(line) else {
        return match text(&String::from_utf8_lossy(line)) {
            Cow::Borrowed(_) => Cow::Borrowed(line),
            Cow::Owned(redacted) => Cow::Owned(redacted.into_bytes()),
        };
    };
    if !within(&mut value, None) {
        return Cow::Borrowed(line);
    }
    let mut redacted = serde_json::to_vec(&value).unwrap_or_else(|_| REDACTED.into());
    redacted.push(b'\n');
    Cow::Owned(redacted)
}

/// A text as it may be shown.
pub fn text(text: &str) -> Cow<'_, str> {
    shapes(text, true, true)
}

/// Whether anything was changed.
fn within(value: &mut Value, name: Option<&str>) -> bool {
    let is_own = name.is_some_and(|name| OWN.contains(&name));
    match value {
        Value::Object(fields) => fields.iter_mut().fold(false, |changed, (name, value)| {
            if is_secret(name, value) {
                *value = Value::from(REDACTED);
                return true;
            }
            within(value, Some(name)) | changed
        }),
        Value::Array(values) => values.iter_mut().fold(false, |changed, value| within(value, name) | changed),
        Value::String(string) => match shapes(string, !is_own, name != Some(USER)) {
            Cow::Borrowed(_) => false,
            Cow::Owned(redacted) => {
                *string = redacted;
                true
            }
        },
        Value::Number(number) => {
            let is_card = !is_own && is_card(&number.to_string());
            if is_card {
                *value = Value::from(REDACTED);
            }
            is_card
        }
        Value::Null | Value::Bool(_) => false,
    }
}

fn is_secret(name: &str, value: &Value) -> bool {
    if value.is_null() || value.is_boolean() {
        return false;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    if name == CODE {
        let word = |text: &str| {
            text.len() <= CODE_WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        return value.as_str().is_some_and(|text| !word(text));
    }
    let last = name.rsplit('_').next().unwrap_or_default();
    NAMES.contains(&name.as_str()) || NAMES[..19].contains(&last) || name.ends_with("_api_key")
}

fn shapes(text: &str, cards: bool, addresses: bool) -> Cow<'_, str> {
    let mut result = Cow::Borrowed(text);
    let mut apply = |expression: &Regex, with: &dyn Fn(&Captures<'_>) -> String| {
        if let Cow::Owned(replaced) = expression.replace_all(&result, with) {
            result = Cow::Owned(replaced);
        }
    };
    apply(&WHOLE, &|_| REDACTED.to_owned());
    apply(&SCHEMES, &|found| format!("{}{}{REDACTED}", &found[1], &found[2]));
    apply(&CREDENTIALS, &|found| format!("{}{REDACTED}@", &found[1]));
    apply(&PAIRS, &|found| format!("{}{}{REDACTED}", &found[1], &found[2]));
    apply(&QUERY_CODE, &|found| format!("{}{REDACTED}", &found[1]));
    if addresses {
        apply(&ADDRESSES, &|_| REDACTED.to_owned());
    }
    if cards {
        apply(&CARDS, &|found| if is_card(&found[0]) { REDACTED.to_owned() } else { found[0].to_owned() });
    }
    if result == text { Cow::Borrowed(text) } else { result }
}

/// Whether digits are those of a card: by their number, and by Luhn's check.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|character| character.to_digit(10)).collect();
    let first = digits.first().copied().unwrap_or_default();
    if !(CARD_DIGITS_MIN..=19).contains(&digits.len()) || !(2..=6).contains(&first) {
        return false;
    }
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let digits = digits.iter().rev().enumerate();
    digits.map(|(at, digit)| if at % 2 == 1 { doubled(*digit) } else { *digit }).sum::<u32>() % 10 == 0
}

/// Writes lines to standard error, each redacted and in one go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Redacting;

impl Write for Redacting {
    /// The subscriber hands over one whole line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(&line(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Redacting {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests;
