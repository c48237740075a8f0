//! Which field a request is refused for. It is named by where it stands, and nothing else of what was sent is told back.

use crate::router::format::Unreadable;

/// What is told back to whoever sent it.
const FIELD_BYTES_MAX: usize = 64;

/// The one thing that a caller can use of what libraries say.
pub(super) fn at_fault(unreadable: &Unreadable) -> String {
    let path = unreadable.path.as_deref();
    let within = path.filter(|path| !path.is_empty()).map(|path| format!("{path}.")).unwrap_or_default();
    let text = unreadable.error.to_string();
    let named = ["unknown field", "missing field"].into_iter().find_map(|what| {
        let (_, rest) = text.split_once(what)?;
        let name = rest.strip_prefix(" `")?.split('`').next()?;
        // The path of a field that is too much ends with it already, where it stands in the body by itself.
        let known = path.filter(|path| *path == name || path.ends_with(&format!(".{name}")));
        let whole = known.map_or_else(|| format!("{within}{name}"), str::to_owned);
        let name = [whole, name.to_owned()].into_iter().find(|name| is_told(name))?;
        Some(format!(": {what} `{name}`"))
    });
    named.unwrap_or_else(|| match path {
        Some("") => ": it is of another type".to_owned(),
        Some(path) if is_told(path) => format!(": `{path}` is of another type, or out of its range"),
        Some(_) => ": a value in it is of another type, or out of its range".to_owned(),
        None => String::new(),
    })
}

fn is_told(name: &str) -> bool {
    name.len() <= FIELD_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}
