//! Descriptions are the comments of the code, whose links lead nowhere outside of its documentation: their texts are what is left.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// ``[`Name`](path)``, ``[`Name`]``, and `[text](path)`. Addresses of the web stay: no path of Rust has a `/` or a `#`.
static LINKS: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"\[(`[^`\]]+`)\](?:\([A-Za-z0-9_:!]+\))?|\[([^\[\]`]+)\]\([A-Za-z0-9_:!]+\)"));

/// The description without such links. It is looked at as it is written: JSON has no bracket before a backtick, and none before
/// a parenthesis, but in texts.
pub(super) fn plain(json: &str) -> String {
    let Ok(links) = &*LINKS else { return json.to_owned() };
    let text =
        |found: &Captures<'_>| found.get(1).or(found.get(2)).map_or(String::new(), |text| text.as_str().to_owned());
    links.replace_all(json, text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn links_of_the_code_are_their_texts() {
        for (linked, text) in [
            (r#"{"description":"[`SCHEMA`](super::SCHEMA)."}"#, r#"{"description":"`SCHEMA`."}"#),
            (r#"["[`Page::more`] where [`A`](B) or [`C`]"]"#, r#"["`Page::more` where `A` or `C`"]"#),
            (r#"["that tells a [secret](Secret)"]"#, r#"["that tells a secret"]"#),
        ] {
            assert_eq!(plain(linked), text);
        }
        for stays in [r#"["[RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)","a[0] (b)",["c"]]"#, r#"{"enum":["a"]}"#]
        {
            assert_eq!(plain(stays), stays);
        }
    }
}
