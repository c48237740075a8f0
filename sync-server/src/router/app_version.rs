//! Which app calls: the headers that say so, and the layer that turns away those that are too old.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::ApiError;
use crate::versions::{self, Version};

pub(crate) const PLATFORM: HeaderName = HeaderName::from_static("x-app-platform");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("x-app-version");

/// The app that calls, as it says of itself; in the extensions of its requests. It is there to be kind to old apps and to count
/// them: nobody gets in because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppVersion {
    /// `ios`, `android`, … : a word of a-z, 0-9 and -, at most 32.
    pub(crate) platform: String,
    /// Its version.
    pub(crate) version: Version,
}

impl AppVersion {
    /// What the headers say. `None` where one of the two is missing: people with curl, and what is no app.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let platform = only(headers, &PLATFORM, |text| versions::is_platform(text).then(|| text.to_owned()));
        let version = only(headers, &VERSION, |text| text.parse().ok());
        let must = "a word of a-z, 0-9 and -, at most 32";
        let platform = platform.map_err(|()| ApiError::invalid("X-App-Platform", must))?;
        let must = "a version such as 2.4.1, of at most 32 characters";
        let version = version.map_err(|()| ApiError::invalid("X-App-Version", must))?;
        Ok(platform.zip(version).map(|(platform, version)| Self { platform, version }))
    }
}

/// The header's one value, if it is there.
fn only<T>(headers: &HeaderMap, name: &HeaderName, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(read).map(Some).ok_or(()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// The layer over every route that works. It stands before the limits: this answer costs less than counting.
pub(crate) async fn recent(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match AppVersion::of(request.headers()) {
        Ok(None) => {}
        Ok(Some(caller)) => {
            if let Some(too_old) = app.manifest.too_old(&caller) {
                return ApiError::upgrade_required(&too_old).into_response();
            }
            request.extensions_mut().insert(caller);
        }
        Err(error) => return error.into_response(),
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&HeaderName, &[u8])]) -> HeaderMap {
        let value = |value: &[u8]| HeaderValue::from_bytes(value).unwrap();
        let mut headers = HeaderMap::new();
        for (name, bytes) in pairs {
            headers.append(*name, value(bytes));
        }
        headers
    }

    #[test]
    fn both_headers_name_an_app_and_one_or_none_names_none() {
        let both = headers(&[(&PLATFORM, b"ios"), (&VERSION, b"2.4.1")]);
        let app = AppVersion { platform: "ios".to_owned(), version: "2.4.1".parse().unwrap() };
        assert_eq!(AppVersion::of(&both).unwrap(), Some(app));
        assert_eq!(AppVersion::of(&headers(&[])).unwrap(), None);
        assert_eq!(AppVersion::of(&headers(&[(&PLATFORM, b"ios")])).unwrap(), None);
        assert_eq!(AppVersion::of(&headers(&[(&VERSION, b"2.4.1")])).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_name() {
        for (name, value) in [
            (&PLATFORM, &b""[..]),
            (&PLATFORM, b"iOS"),
            (&PLATFORM, b"\xff"),
            (&VERSION, b"latest"),
            (&VERSION, b"1.2.3.4.5"),
            (&VERSION, b"\xc3\xa4"),
        ] {
            let told = format!("{:?}", AppVersion::of(&headers(&[(name, value)])).unwrap_err()).to_lowercase();
            assert!(told.contains(name.as_str()), "{told}");
        }
        assert!(AppVersion::of(&headers(&[(&VERSION, b"1"), (&VERSION, b"2")])).is_err(), "which of them?");
    }
}
