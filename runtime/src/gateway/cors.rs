//! What a page of another origin may do: call functions, read receipts, see our headers, and learn what it
//! must know before it signs a run: the host's terms, its functions and their profile, and the ledger.
//!
//! There are no cookies and no ambient authority on this origin (every right is a signature in a header),
//! so any origin may ask. Absent: credentials mode, which `*` excludes by itself; the operator's routes; and
//! deploying, since on a loopback node any key may, and a page that somebody visits is not somebody.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::metrics::RouteClass;
use super::reply::EXPOSED;
use super::{ReplyBody, full};

/// The only header of ours with which another origin may ask about functions: an owner's, to read a log.
const ASKED_OF_FUNCTIONS: &str = "talea-request";

/// What a page of another origin may do with the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing.
    Closed,
    /// All of it, if it were one that asked; this request comes from none.
    Open,
    /// All of it, and it asked.
    Asked,
}

/// Whether any origin may read what a request is answered.
pub(super) fn sight(class: RouteClass, path: &str, headers: &HeaderMap) -> Sight {
    let is_open = match class {
        RouteClass::Call | RouteClass::Receipts | RouteClass::Functions | RouteClass::Ledger => {
            true
        }
        RouteClass::Operations => {
            path == "/.well-known/talea/info" || path.starts_with("/profiles/")
        }
    };
    match (is_open, headers.contains_key(header::ORIGIN)) {
        (false, _) => Sight::Closed,
        (true, false) => Sight::Open,
        (true, true) => Sight::Asked,
    }
}

/// Lets any origin read an answer. The names of our headers are told to who asked from another one: they
/// are a quarter of a small answer's bytes, and a cache must know that they depend on it.
pub(super) fn allow(sight: Sight, headers: &mut HeaderMap) {
    if sight == Sight::Closed {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if sight == Sight::Asked {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Whether a request only asks what it may do.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Tells it.
pub(super) fn preflight(class: RouteClass, asked: &HeaderMap) -> Response<ReplyBody> {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(Sight::Asked, headers);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    );
    let wanted = match class {
        RouteClass::Functions => Some(HeaderValue::from_static(ASKED_OF_FUNCTIONS)),
        // Whatever the page wants to send: a function may have named any header.
        RouteClass::Call | RouteClass::Receipts | RouteClass::Ledger | RouteClass::Operations => {
            asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned()
        }
    };
    if let Some(wanted) = wanted {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    // Two hours, the most that Chromium remembers.
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.append(
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
        let told = preflight(RouteClass::Call, &asked);
        assert_eq!(told.status(), StatusCode::NO_CONTENT);
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], wanted);
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }

    #[test]
    fn a_page_that_somebody_visits_cannot_deploy() {
        let mut asked = HeaderMap::new();
        let wanted = HeaderValue::from_static("content-type, talea-registration");
        asked.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, wanted);
        let told = preflight(RouteClass::Functions, &asked);
        assert_eq!(told.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "talea-request");
    }

    #[test]
    fn what_a_client_must_know_may_be_read_from_anywhere_and_the_operators_routes_may_not() {
        let sight = |path| sight(RouteClass::of(path), path, &HeaderMap::new());
        for path in ["/f/x", "/functions/a/b", "/receipts/b", "/blocks", "/.well-known/talea/info"]
        {
            assert_eq!(sight(path), Sight::Open, "{path}");
        }
        for path in ["/", "/metrics", "/health", "/ready"] {
            assert_eq!(sight(path), Sight::Closed, "{path}");
        }
    }

    #[test]
    fn the_names_of_our_headers_are_told_to_other_origins_only() {
        let answer = |sight| {
            let mut headers = HeaderMap::new();
            headers.insert(header::VARY, HeaderValue::from_static("accept"));
            allow(sight, &mut headers);
            let names =
                [header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_EXPOSE_HEADERS];
            let [origin, exposed] = names.map(|name| headers.contains_key(name));
            (origin, exposed, headers.get_all(header::VARY).iter().count())
        };
        assert_eq!(answer(Sight::Closed), (false, false, 1));
        assert_eq!(answer(Sight::Open), (true, false, 2));
        assert_eq!(answer(Sight::Asked), (true, true, 2));
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
