//! Forms (`application/x-www-form-urlencoded`), as strictly read as frames: what is not asked for, or comes twice, is refused.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use sync_core::wire::account::Private;
use url::form_urlencoded;

use super::body;
use crate::app::App;
use crate::error::ApiError;

/// A form of ours has a few short fields and a token.
const FORM_BYTES_MAX: usize = 16 << 10;
/// And no more of them than this.
const FIELDS_MAX: usize = 16;
/// A field's name that may be told back.
const NAME_BYTES_MAX: usize = 64;

/// What is left of a form: fields are taken from it, and in the end none may be there.
pub(crate) struct Form(Vec<(String, Private)>);

impl Form {
    /// Of a request's body.
    pub(crate) async fn of(app: &App, request: Request) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(ApiError::not_a_form());
        }
        Self::read(&body::read(app, request).await?)
    }

    /// Of bytes, such as those of a query.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.len() > FORM_BYTES_MAX {
            return Err(ApiError::bad_form("a form of at most 16 KiB"));
        }
        // The library reads what is no UTF-8 as something else.
        if percent_decoded(bytes).is_none() {
            return Err(ApiError::bad_form("of UTF-8, percent-encoded"));
        }
        let mut fields: Vec<(String, Private)> = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            if fields.len() == FIELDS_MAX || fields.iter().any(|(other, _)| *other == name) {
                return Err(ApiError::bad_form("of fields that come once, at most 16"));
            }
            if value.contains('\0') {
                return Err(ApiError::bad_form("without zero bytes"));
            }
            fields.push((name.into_owned(), Private(value.into_owned())));
        }
        // RFC 6749, section 3.2: what has no value is as if it were not there.
        fields.retain(|(_, value)| !value.0.is_empty());
        Ok(Self(fields))
    }

    /// A field that may be there.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Private> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A field that must be.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<Private, ApiError> {
        self.optional(name).ok_or_else(|| ApiError::missing_field(name))
    }

    /// There is nothing else.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.0.into_iter().next() else { return Ok(()) };
        let fine = name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'`');
        Err(ApiError::unknown_field(if fine { Some(name) } else { None }))
    }
}

/// The bytes that stand behind the percent signs, if they are text.
fn percent_decoded(bytes: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            (b'%', ..) => return None,
            _ => {
                decoded.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_once() {
        let mut form = Form::read(b"grant_type=refresh_token&a=b+c%2Bd&empty=").unwrap();
        assert_eq!(form.required("grant_type").unwrap().0, "refresh_token");
        assert_eq!(form.optional("a").unwrap().0, "b c+d");
        assert!(form.optional("a").is_none() && form.required("empty").is_err());
        form.done().unwrap();
        let form = Form::read(b"more=1").unwrap();
        assert!(form.done().is_err());
    }

    #[test]
    fn what_is_ambiguous_or_no_text_is_refused() {
        let many: Vec<String> = (0..=FIELDS_MAX).map(|number| format!("f{number}=1")).collect();
        let long = format!("a={}", "x".repeat(FORM_BYTES_MAX));
        for form in ["a=1&a=2", "a=1&a=", "a=%ff", "a=%f", "a=%", "a=%zz", "a=%00", &many.join("&"), &long] {
            assert!(Form::read(form.as_bytes()).is_err(), "{}", &form[..form.len().min(60)]);
        }
        assert!(Form::read(b"a=\xff").is_err());
    }
}
