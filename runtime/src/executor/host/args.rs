//! Arguments and environment of a command.

use super::errno::Errno;
use super::fields::Strings;
use super::guest::{Call, Guest, Stop};
use super::memory;

/// Which of the two lists.
pub(super) type List = fn(&Guest) -> &Strings;

/// `argv`.
pub(super) fn arguments(guest: &Guest) -> &Strings {
    guest.fields.argv(&guest.invocation.input)
}

/// The environment.
pub(super) fn environment(guest: &Guest) -> &Strings {
    guest.fields.environ(&guest.invocation.input)
}

/// Tells how many strings there are and how many bytes they take with their NULs.
///
/// # Cost
/// Flat.
pub(super) fn sizes_get(
    call: &mut Call<'_>,
    list: List,
    count: i32,
    len: i32,
) -> Result<Errno, Stop> {
    let (memory, guest) = call.parts();
    let strings = list(guest);
    let sizes = (u32::try_from(strings.starts.len()), u32::try_from(strings.bytes.len()));
    let (Ok(strings_count), Ok(bytes_len)) = sizes else { return Ok(Errno::Inval) };
    if memory::bytes(memory, count, 4).is_none() || memory::bytes(memory, len, 4).is_none() {
        return Ok(Errno::Fault);
    }
    let _ = memory::put(memory, count, &strings_count.to_le_bytes());
    let _ = memory::put(memory, len, &bytes_len.to_le_bytes());
    Ok(Errno::Success)
}

/// Writes the strings to one place and the pointers to them to another.
///
/// # Cost
/// Flat, and per KiB of strings and pointers.
pub(super) fn get(
    call: &mut Call<'_>,
    list: List,
    pointers: i32,
    buffer: i32,
) -> Result<Errno, Stop> {
    let (memory, guest) = call.parts();
    let strings = list(guest);
    let sizes = (u32::try_from(strings.starts.len() * 4), u32::try_from(strings.bytes.len()));
    let (Ok(pointers_len), Ok(bytes_len)) = sizes else { return Ok(Errno::Inval) };
    if memory::bytes(memory, pointers, pointers_len).is_none()
        || memory::bytes(memory, buffer, bytes_len).is_none()
    {
        return Ok(Errno::Fault);
    }
    call.charge_bytes(u64::from(pointers_len) + u64::from(bytes_len))?;
    let (memory, guest) = call.parts();
    let strings = list(guest);
    let _ = memory::put(memory, buffer, &strings.bytes);
    let addresses: Vec<u8> = strings
        .starts
        .iter()
        .flat_map(|start| buffer.cast_unsigned().wrapping_add(*start).to_le_bytes())
        .collect();
    let _ = memory::put(memory, pointers, &addresses);
    Ok(Errno::Success)
}
