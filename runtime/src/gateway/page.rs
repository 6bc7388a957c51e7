//! The page at `/`: one committed file, fed by the JSON routes like any other client.
//!
//! Invariant: it loads nothing from anywhere else, which its own policy says to the browser: only the
//! inline script and style whose digests are named here may run.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use sha2::{Digest as _, Sha256};

use super::{ReplyBody, full};

const PAGE: &str = include_str!("page/status.html");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let script = digest(between(PAGE, "<script>", "</script>"));
    let style = digest(between(PAGE, "<style>", "</style>"));
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; script-src 'sha256-{script}'; \
         style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Digests in base64 and constants: always a header value.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page.
pub(super) fn page() -> Response<ReplyBody> {
    let mut response = Response::new(full(Bytes::from_static(PAGE.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
    let start = page.find(from).map_or(0, |at| at + from.len());
    let len = page[start..].find(to).unwrap_or(0);
    &page[start..start + len]
}

fn digest(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for reference in ["src=\"http", "href=\"http", "url(", "@import", "innerHTML"] {
            assert!(!PAGE.contains(reference), "{reference}");
        }
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
        assert!(!PAGE.contains(" style=\""), "an inline style would be blocked");
    }

    #[test]
    fn the_policy_names_what_is_on_the_page() {
        let policy = page().headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let script = digest(between(PAGE, "<script>", "</script>"));
        assert!(between(PAGE, "<script>", "</script>").contains("turn();"));
        assert!(policy.contains(&format!("script-src 'sha256-{script}'")), "{policy}");
    }
}
