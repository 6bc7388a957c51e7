//! W3C trace context: a caller's `traceparent` goes into our log lines and back in the answer.
//!
//! Without one there is no span and no cost. Absent: making trace ids; who does not trace gets none.

use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument as _;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The request's trace parent, if it is one (version 00).
pub(super) fn parent(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(TRACEPARENT)?;
    is_parent(value.as_bytes()).then(|| value.clone())
}

/// Runs inside a span that names the trace, if there is one.
pub(super) async fn within<T>(parent: &Option<HeaderValue>, served: impl Future<Output = T>) -> T {
    match parent.as_ref().and_then(|parent| parent.to_str().ok()) {
        None => served.await,
        Some(text) => {
            let (trace_id, parent_id) = (&text[3..35], &text[36..52]);
            served.instrument(tracing::info_span!("request", trace_id, parent_id)).await
        }
    }
}

/// Gives the caller its own trace parent back.
pub(super) fn echo(parent: Option<HeaderValue>, headers: &mut HeaderMap) {
    if let Some(parent) = parent {
        headers.insert(TRACEPARENT, parent);
    }
}

/// `00-<32 hex, not all zero>-<16 hex, not all zero>-<2 hex>`, lowercase.
fn is_parent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let is_set = |part: &[u8]| part.iter().any(|b| *b != b'0');
    text.len() == 55
        && text.starts_with(b"00-")
        && text[35] == b'-'
        && text[52] == b'-'
        && is_hex(&text[3..35])
        && is_hex(&text[36..52])
        && is_hex(&text[53..])
        && is_set(&text[3..35])
        && is_set(&text[36..52])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_parent_counts() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let is = |text: &str| is_parent(text.as_bytes());
        assert!(is(good));
        assert!(!is(&good.to_uppercase()));
        assert!(!is(&good.replace("00-4", "01-4")));
        assert!(!is(&good[..54]));
        assert!(!is("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
        assert!(!is("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"));
    }

    #[tokio::test]
    async fn it_comes_back() {
        let good =
            HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let asked: HeaderMap = [(TRACEPARENT, good.clone())].into_iter().collect();
        let parent = parent(&asked);
        assert_eq!(within(&parent, async { 7 }).await, 7);
        let mut answer = HeaderMap::new();
        echo(parent, &mut answer);
        assert_eq!(answer[TRACEPARENT], good);
    }
}
