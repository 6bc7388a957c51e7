//! The headers of ours that a caller may send with a call, read strictly.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{ARGS, CallError, HeaderFault, SALT};
use crate::limits;

/// What salt the input document gets. A salt keeps a guessable input from being read off its CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaltWish {
    /// None.
    None,
    /// This one; a paid call must know it before it signs.
    Given([u8; 16]),
    /// One that the node draws.
    Random,
}

/// The bytes of a sealed document in a header.
pub fn credential(headers: &HeaderMap, header: &HeaderName) -> Result<Option<Vec<u8>>, CallError> {
    let Some(value) = only(headers, header)? else { return Ok(None) };
    let fault = |fault| CallError::Header { header: header.clone(), fault };
    if value.len() > limits::CREDENTIAL_LEN_MAX {
        return Err(fault(HeaderFault::TooLong));
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).map_err(|_| fault(HeaderFault::NotBase64))?;
    Ok(Some(bytes))
}

pub(super) fn salt(headers: &HeaderMap) -> Result<SaltWish, CallError> {
    let Some(value) = only(headers, &SALT)? else { return Ok(SaltWish::None) };
    if value == "random" {
        return Ok(SaltWish::Random);
    }
    hex16(value.as_bytes())
        .map(SaltWish::Given)
        .ok_or(CallError::Header { header: SALT, fault: HeaderFault::NotSalt })
}

pub(super) fn args(headers: &HeaderMap) -> Result<Vec<String>, CallError> {
    let Some(value) = only(headers, &ARGS)? else { return Ok(Vec::new()) };
    let fault = |fault| CallError::Header { header: ARGS, fault };
    if value.len() > limits::ARGS_LEN_MAX * 3 {
        return Err(fault(HeaderFault::TooLong));
    }
    let text = value.to_str().map_err(|_| fault(HeaderFault::NotArguments))?;
    let words: Option<Vec<String>> = text.split(' ').map(percent_decoded).collect();
    let words = words.ok_or(fault(HeaderFault::NotArguments))?;
    let len: usize = words.iter().map(String::len).sum();
    if words.len() > limits::ARGS_MAX || len > limits::ARGS_LEN_MAX {
        return Err(fault(HeaderFault::TooLong));
    }
    Ok(words)
}

/// `Prefer: return=receipt`, among other preferences or alone (RFC 7240).
pub(super) fn wants_receipt(headers: &HeaderMap) -> bool {
    // `Prefer` has no constant in `http`; the lookup by text allocates nothing.
    headers.get_all("prefer").iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',' || *b == b';')
            .any(|preference| preference.trim_ascii().eq_ignore_ascii_case(b"return=receipt"))
    })
}

/// The one value of a header, if it is there.
fn only<'h>(
    headers: &'h HeaderMap,
    header: &HeaderName,
) -> Result<Option<&'h HeaderValue>, CallError> {
    let mut values = headers.get_all(header).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(CallError::Header { header: header.clone(), fault: HeaderFault::Repeated });
    }
    debug_assert_ne!(header, header::COOKIE, "cookies are never read");
    Ok(first)
}

fn hex16(text: &[u8]) -> Option<[u8; 16]> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let text: &[u8; 32] = text.try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Undoes percent-encoding; `None` unless the result is UTF-8 without NUL, which is what an argument is.
fn percent_decoded(word: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(word.len());
    let mut bytes = word.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok()
}
