//! What a page of another origin may do: call functions, read receipts, and see our headers.
//!
//! There are no cookies and no ambient authority on this origin (every right is a signature in a header),
//! so any origin may ask. Absent: credentials mode, which `*` excludes by itself.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::reply::EXPOSED;
use super::{ReplyBody, full};

/// Lets any origin read an answer.
pub(super) fn allow(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// Whether a request only asks what it may do.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Tells it.
pub(super) fn preflight(asked: &HeaderMap) -> Response<ReplyBody> {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(headers);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    );
    // Whatever the page wants to send: a function may have named any header.
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    if let Some(wanted) = wanted {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    // Two hours, the most that Chromium remembers.
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("access-control-request-method, access-control-request-headers"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preflight_is_told_what_it_asked_for() {
        let mut asked = HeaderMap::new();
        assert!(!is_preflight(&Method::OPTIONS, &asked));
        asked.insert(header::ORIGIN, HeaderValue::from_static("https://dapp.example"));
        asked.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        let wanted = HeaderValue::from_static("content-type, talea-run");
        asked.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, wanted.clone());
        assert!(is_preflight(&Method::OPTIONS, &asked));
        assert!(!is_preflight(&Method::POST, &asked));
        let told = preflight(&asked);
        assert_eq!(told.status(), StatusCode::NO_CONTENT);
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], wanted);
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }

    #[test]
    fn every_header_of_ours_is_exposed_by_name() {
        // The wildcard would not expose them to requests with an `authorization` header.
        let source = include_str!("reply.rs");
        let ours = source.match_indices("from_static(\"talea-").map(|(at, _)| {
            source[at + "from_static(\"".len()..].split('"').next().unwrap_or_default()
        });
        let mut count = 0;
        for name in ours {
            count += 1;
            assert!(EXPOSED.split(", ").any(|exposed| exposed.trim() == name), "{name}");
        }
        assert!(count >= 9, "{count}");
    }
}
