//! The Talea ABI: what a handler reads and writes. The words are those of the ABI page.

use talea_host_api as api;
use talea_ledger::profile::Profile;
use wasmtime::{Caller, Linker};

use super::guest::{Call, Guest, Price, Stop};
use super::headers::HeaderFault;
use super::{clock, memory, random};

/// Registers the imports of module `talea`.
pub(super) fn register(linker: &mut Linker<Guest>, profile: &Profile) -> wasmtime::Result<()> {
    super::preview1::define!(linker, profile, api::MODULE, call;
        input_len(field: i32) -> i32 = input_len(call, field)?;
        input_read(field: i32, ptr: i32, off: i32, len: i32) -> i32
            = input_read(call, field, ptr, off, len)?;
        output_status(code: i32) -> i32 = output_status(call, code);
        output_header(name: i32, name_len: i32, value: i32, value_len: i32) -> i32
            = output_header(call, (name, name_len), (value, value_len))?;
        output_write(ptr: i32, len: i32) -> i32 = output_write(call, ptr, len)?;
        log(level: i32, ptr: i32, len: i32) -> i32 = log(call, level, ptr, len)?;
        clock_ns() -> i64 = clock::clock_ns(call);
        random(ptr: i32, len: i32) -> i32 = random::random(call, ptr, len)?;
    );
    Ok(())
}

/// The bytes of a field of the input.
fn field(guest: &Guest, number: i32) -> Option<&[u8]> {
    let input = &guest.invocation.input;
    Some(match api::Field::from_number(number)? {
        api::Field::Body => guest.body(),
        api::Field::Method => input.method.as_bytes(),
        api::Field::Path => input.path.as_bytes(),
        api::Field::Query => input.query.as_bytes(),
        api::Field::Headers => guest.fields.headers(input),
        api::Field::Arguments => guest.fields.arguments(input),
    })
}

/// Tells the length of a field.
///
/// # Cost
/// Flat.
fn input_len(call: &mut Call<'_>, number: i32) -> Result<i32, Stop> {
    let guest = call.guest();
    let len = field(guest, number).map(<[u8]>::len);
    Ok(len.map_or(api::BAD_ARGUMENT, |len| i32::try_from(len).unwrap_or(i32::MAX)))
}

/// Copies a part of a field into the guest's memory.
///
/// # Cost
/// Flat, and per KiB copied.
fn input_read(call: &mut Call<'_>, number: i32, ptr: i32, off: i32, len: i32) -> Result<i32, Stop> {
    let (off, len) = (off.cast_unsigned(), len.cast_unsigned());
    let (memory, guest) = call.parts();
    if memory::bytes(memory, ptr, len).is_none() {
        return Ok(api::BAD_POINTER);
    }
    let Some(bytes) = field(guest, number) else { return Ok(api::BAD_ARGUMENT) };
    let from = usize::try_from(off).unwrap_or(usize::MAX).min(bytes.len());
    let rest = bytes.len() - from;
    // A field is no longer than an i32 tells, so neither is what is copied of it.
    let n = rest.min(usize::try_from(len).unwrap_or(usize::MAX)).min(api::FIELD_LEN_MAX);
    call.charge_bytes(n as u64)?;
    let (memory, guest) = call.parts();
    let part = field(guest, number).and_then(|bytes| bytes.get(from..from + n));
    let _ = memory::put(memory, ptr, part.unwrap_or_default());
    Ok(i32::try_from(n).unwrap_or(i32::MAX))
}

/// Sets the status of the output.
///
/// # Cost
/// Flat.
fn output_status(call: &mut Call<'_>, code: i32) -> i32 {
    let guest = call.guest();
    if !(api::STATUS_MIN..=api::STATUS_MAX).contains(&code) {
        return api::BAD_ARGUMENT;
    }
    if !guest.output.is_empty() {
        return api::TOO_LATE;
    }
    guest.headers.set_status(code);
    api::OK
}

/// Adds a header to the output.
///
/// # Cost
/// Flat, and per KiB of name and value.
fn output_header(call: &mut Call<'_>, name: (i32, i32), value: (i32, i32)) -> Result<i32, Stop> {
    let (name_len, value_len) = (name.1.cast_unsigned(), value.1.cast_unsigned());
    let (memory, _) = call.parts();
    if memory::bytes(memory, name.0, name_len).is_none()
        || memory::bytes(memory, value.0, value_len).is_none()
    {
        return Ok(api::BAD_POINTER);
    }
    call.charge_bytes(u64::from(name_len) + u64::from(value_len))?;
    let (memory, guest) = call.parts();
    let is_late = !guest.output.is_empty();
    let name = memory::bytes(memory, name.0, name_len).unwrap_or_default();
    let value = memory::bytes(memory, value.0, value_len).unwrap_or_default();
    let added =
        if is_late { guest.headers.check(name, value) } else { guest.headers.add(name, value) };
    // Of several faults the one with the number nearest to zero is told.
    Ok(match added {
        Err(HeaderFault::Malformed) => api::BAD_ARGUMENT,
        _ if is_late => api::TOO_LATE,
        Err(HeaderFault::Reserved) => api::RESERVED,
        Err(HeaderFault::TooLarge) => api::TOO_LARGE,
        Ok(()) => api::OK,
    })
}

/// Appends to the output's body.
///
/// # Cost
/// Flat, and per KiB written.
fn output_write(call: &mut Call<'_>, ptr: i32, len: i32) -> Result<i32, Stop> {
    let len = len.cast_unsigned();
    if memory::bytes(call.parts().0, ptr, len).is_none() {
        return Ok(api::BAD_POINTER);
    }
    call.charge_bytes(u64::from(len))?;
    let (memory, guest) = call.parts();
    guest.append_output(memory::bytes(memory, ptr, len).unwrap_or_default())?;
    Ok(api::OK)
}

/// Appends a line to the log.
///
/// # Cost
/// Flat, and per KiB of the message.
fn log(call: &mut Call<'_>, level: i32, ptr: i32, len: i32) -> Result<i32, Stop> {
    let len = len.cast_unsigned();
    if memory::bytes(call.parts().0, ptr, len).is_none() {
        return Ok(api::BAD_POINTER);
    }
    let Some(level) = api::Level::from_number(level) else { return Ok(api::BAD_ARGUMENT) };
    call.charge_bytes(u64::from(len))?;
    let (memory, guest) = call.parts();
    let message = memory::bytes(memory, ptr, len).unwrap_or_default();
    // The word, a space and the newline count too.
    guest.log_fits(level.word().len().saturating_add(2).saturating_add(message.len()))?;
    guest.append_log(level.word().as_bytes())?;
    guest.append_log(b" ")?;
    guest.append_log(message)?;
    guest.append_log(b"\n")?;
    Ok(api::OK)
}
