//! Pages for browsers: plain HTML without scripts, that no other page may frame, and of which nothing is kept.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sync_core::id::Hash;
use url::{Host, Url};

const STYLE: &str = "body{font:1.125rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:26rem;padding:0 1rem}\
    label{display:block;margin-top:1rem}\
    input{box-sizing:border-box;font:inherit;padding:.5rem;width:100%}\
    button{font:inherit;margin:1.5rem .5rem 0 0;padding:.5rem 1.25rem}\
    [role=alert]{border-left:.25rem solid #b00020;padding-left:.75rem}\
    code{font-size:1.5rem;letter-spacing:.1em}";

/// A page. Its body is HTML, so what comes from elsewhere is [escaped](escape).
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) body: String,
    /// Where the browser is sent once the form is answered: some hold even that against the page's policy.
    pub(crate) leads_to: Option<Url>,
}

/// Text as HTML, also inside of quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A field that is sent along and not seen.
pub(crate) fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value))
}

/// What was not right, where screen readers tell it first.
pub(crate) fn alert(message: &str) -> String {
    format!("<p role=\"alert\">{}</p>", escape(message))
}

/// The fields that somebody signs in with.
pub(crate) const SIGN_IN: &str = "<label for=\"email\">E-mail address</label>\
    <input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"username\" maxlength=\"255\" required autofocus>\
    <label for=\"password\">Password</label>\
    <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>";

/// A source as `form-action` names it: an origin, or a scheme where there is none that the policy could spell.
fn source(url: &Url) -> String {
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(Host::Domain(_) | Host::Ipv4(_))) => url.origin().ascii_serialization(),
        (scheme, _) => format!("{scheme}:"),
    }
}

impl Page {
    fn policy(&self) -> String {
        let style = STANDARD.encode(Hash::of(&[STYLE.as_bytes()]).0);
        let leads_to = self.leads_to.as_ref().map_or(String::new(), |url| format!(" {}", source(url)));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{leads_to}; frame-ancestors 'none'; \
             base-uri 'none'"
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let policy = self.policy();
        let Self { status, title, body, .. } = self;
        let html = format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1>{body}</main></body></html>"
        );
        let mut response = (status, html).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // Origins and schemes are ASCII.
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        let hostile = "\"><script>alert('&')</script>";
        assert_eq!(hidden("state", hostile).matches(['<', '>', '"']).count(), 2 + 6);
        assert_eq!(alert(hostile).matches(['<', '>']).count(), 4);
        assert!(!escape(hostile).contains(['<', '>', '"', '\'']));
    }

    #[test]
    fn the_policy_names_where_the_form_leads() {
        for (url, expected) in [
            ("http://127.0.0.1:4711/callback", "http://127.0.0.1:4711"),
            ("http://[::1]:4711/callback", "http:"),
            ("https://notes.example.com/a;b'c", "https://notes.example.com"),
            ("com.example.notes:/callback", "com.example.notes:"),
        ] {
            assert_eq!(source(&Url::parse(url).unwrap()), expected);
        }
    }
}
