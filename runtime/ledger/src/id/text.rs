//! Text forms of ids: hex, base32 (multibase `b`) and base58btc (multibase `z`), for fixed lengths only.
//!
//! Fixed lengths make each form unique: a text that decodes is the text that encodes.

use super::IdError;

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The digit of `value`, which callers keep below the size of the alphabet.
fn digit(alphabet: &[u8], value: u32) -> char {
    let at = usize::try_from(value).unwrap_or_default();
    char::from(alphabet.get(at).copied().unwrap_or(b'?'))
}

/// The value of a digit in an alphabet of at most 58.
fn value(alphabet: &[u8], byte: u8, at: usize) -> Result<u32, IdError> {
    alphabet
        .iter()
        .position(|digit| *digit == byte)
        .and_then(|value| u32::try_from(value).ok())
        .ok_or(IdError::Digit { at })
}

/// The value of a base32 digit, without a search: every call of a function names it in this form.
fn value_of_32(byte: u8, at: usize) -> Result<u32, IdError> {
    match byte {
        b'a'..=b'z' => Ok(u32::from(byte.saturating_sub(b'a'))),
        b'2'..=b'7' => Ok(u32::from(byte.saturating_sub(b'2')).saturating_add(26)),
        _ => Err(IdError::Digit { at }),
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        text.push(digit(HEX, u32::from(byte >> 4)));
        text.push(digit(HEX, u32::from(byte & 15)));
    }
    text
}

/// 64 lower-case hex digits.
pub(super) fn from_hex(text: &str) -> Result<[u8; 32], IdError> {
    if text.len() != 64 {
        return Err(IdError::Length { found: text.len(), expected: 64 });
    }
    let mut bytes = [0; 32];
    for (at, (byte, pair)) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)).enumerate() {
        let at = at.saturating_mul(2);
        if let [high, low] = pair {
            let high = value(HEX, *high, at)?;
            let low = value(HEX, *low, at.saturating_add(1))?;
            // Both are below 16, so the sum fits a byte.
            *byte = ((high << 4) | low) as u8;
        }
    }
    Ok(bytes)
}

/// Multibase base32 lower case, without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let digits = bytes.len().saturating_mul(8).div_ceil(5);
    let mut text = String::with_capacity(digits.saturating_add(1));
    text.push('b');
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits = bits.saturating_add(8);
        while bits >= 5 {
            bits = bits.saturating_sub(5);
            text.push(digit(BASE32, held.wrapping_shr(bits) & 31));
        }
    }
    if bits > 0 {
        text.push(digit(BASE32, held.wrapping_shl(5_u32.saturating_sub(bits)) & 31));
    }
    text
}

/// The `N` bytes of a multibase base32 text; bits that fill up the last digit must be zero.
pub(super) fn from_base32<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let digits = text.strip_prefix('b').ok_or(IdError::Prefix { expected: "b" })?;
    let expected = N.saturating_mul(8).div_ceil(5);
    if digits.len() != expected {
        return Err(IdError::Length { found: text.len(), expected: expected.saturating_add(1) });
    }
    let mut bytes = [0; N];
    let mut places = bytes.iter_mut();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for (at, byte) in digits.bytes().enumerate() {
        held = (held << 5) | value_of_32(byte, at.saturating_add(1))?;
        bits = bits.saturating_add(5);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            if let Some(place) = places.next() {
                *place = (held.wrapping_shr(bits) & 0xff) as u8;
            }
        }
    }
    let rest = 1_u32.wrapping_shl(bits).saturating_sub(1);
    if held & rest != 0 {
        return Err(IdError::Form);
    }
    Ok(bytes)
}

/// Multibase base58btc of bytes that do not begin with zero.
pub(super) fn base58(bytes: &[u8]) -> String {
    let mut digits: Vec<u32> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for place in &mut digits {
            // At most 57 * 256 + 255.
            carry = place.saturating_mul(256).saturating_add(carry);
            *place = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let mut text = String::from("z");
    text.extend(digits.iter().rev().map(|value| digit(BASE58, *value)));
    text
}

/// The `N` bytes of a multibase base58btc text of `len` digits after the prefix.
pub(super) fn from_base58<const N: usize>(text: &str, len: usize) -> Result<[u8; N], IdError> {
    let digits = text.strip_prefix('z').ok_or(IdError::Prefix { expected: "z" })?;
    if digits.len() != len {
        return Err(IdError::Length { found: text.len(), expected: len.saturating_add(1) });
    }
    let mut bytes = [0_u8; N];
    for (at, byte) in digits.bytes().enumerate() {
        let mut carry = value(BASE58, byte, at.saturating_add(1))?;
        for place in bytes.iter_mut().rev() {
            // At most 255 * 58 + 255.
            carry = u32::from(*place).saturating_mul(58).saturating_add(carry);
            *place = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return Err(IdError::Form);
        }
    }
    // A leading zero byte would have a second text with fewer digits.
    if bytes.first() == Some(&0) {
        return Err(IdError::Form);
    }
    Ok(bytes)
}
