//! Waiting, which moves the virtual clock on and returns at once.

use super::errno::Errno;
use super::guest::{Call, Guest, Stop};
use super::memory;
use super::stdio;
use crate::executor::bounds;

/// Bytes of a `subscription`: the user's number at 0, the tag at 8, what it tells from 16 on.
const SUBSCRIPTION: u32 = 48;
/// Bytes of an `event`: the user's number at 0, the errno at 8, the tag at 10, bytes and flags of a
/// descriptor at 16 and 24.
const EVENT: usize = 32;

const TAG_CLOCK: u8 = 0;
const TAG_READ: u8 = 1;
const TAG_WRITE: u8 = 2;
/// The clock's time is not counted from now on.
const FLAG_ABSOLUTE: u16 = 1;
/// The stream is at its end.
const FLAG_HANGUP: u16 = 1;

/// What a subscription comes to.
enum Wait {
    /// It has happened.
    Event([u8; EVENT]),
    /// It happens when that much time has gone by.
    Until(u64, [u8; EVENT]),
}

/// Waits for the first of many things.
///
/// What can happen without waiting (a descriptor, a fault, a deadline gone by) is answered alone;
/// otherwise the clock moves to the earliest deadline and all that have passed by then are answered.
///
/// # Cost
/// Flat, and per KiB of subscriptions.
pub(super) fn poll_oneoff(
    call: &mut Call<'_>,
    subscriptions: i32,
    events: i32,
    count: i32,
    stored: i32,
) -> Result<Errno, Stop> {
    let count = count.cast_unsigned();
    if count == 0 || count > bounds::SUBSCRIPTIONS_MAX {
        return Ok(Errno::Inval);
    }
    let (memory, _) = call.parts();
    let (len_in, len_out) = (count * SUBSCRIPTION, count * EVENT as u32);
    if memory::bytes(memory, subscriptions, len_in).is_none()
        || memory::bytes(memory, events, len_out).is_none()
        || memory::bytes(memory, stored, 4).is_none()
    {
        return Ok(Errno::Fault);
    }
    call.charge_bytes(u64::from(len_in))?;
    let (memory, guest) = call.parts();
    let list = memory::bytes(memory, subscriptions, len_in).unwrap_or_default();
    let waits: Vec<Wait> =
        list.chunks_exact(SUBSCRIPTION as usize).map(|entry| wait(guest, entry)).collect();
    let mut happened = happened_by_now(guest, &waits);
    if happened.is_empty() {
        let earliest = waits.iter().filter_map(|wait| match wait {
            Wait::Until(deadline, _) => Some(*deadline),
            Wait::Event(_) => None,
        });
        guest.clock.wait_until(earliest.min().unwrap_or(0));
        happened = happened_by_now(guest, &waits);
    }
    let number = u32::try_from(happened.len() / EVENT).unwrap_or(0);
    let _ = memory::put(memory, events, &happened);
    let _ = memory::put(memory, stored, &number.to_le_bytes());
    Ok(Errno::Success)
}

fn happened_by_now(guest: &Guest, waits: &[Wait]) -> Vec<u8> {
    let mut happened = Vec::new();
    for wait in waits {
        match wait {
            Wait::Event(event) => happened.extend_from_slice(event),
            Wait::Until(deadline, event) if guest.clock.is_past(*deadline) => {
                happened.extend_from_slice(event);
            }
            Wait::Until(..) => {}
        }
    }
    happened
}

fn wait(guest: &Guest, entry: &[u8]) -> Wait {
    let user = &entry[..8];
    let tag = entry[8];
    let word = |at: usize| memory::read_u32(entry, at as i32).unwrap_or(0);
    let double = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let event = |errno: Errno, bytes: u64, flags: u16| {
        let mut event = [0; EVENT];
        event[..8].copy_from_slice(user);
        event[8..10].copy_from_slice(&(errno.number() as u16).to_le_bytes());
        event[10] = tag;
        event[16..24].copy_from_slice(&bytes.to_le_bytes());
        event[24..26].copy_from_slice(&flags.to_le_bytes());
        event
    };
    let fd = word(16).cast_signed();
    match tag {
        TAG_CLOCK => {
            let absolute = word(40) as u16 & FLAG_ABSOLUTE != 0;
            match guest.clock.deadline(word(16), double(24), absolute) {
                Ok(deadline) => Wait::Until(deadline, event(Errno::Success, 0, 0)),
                Err(errno) => Wait::Event(event(errno, 0, 0)),
            }
        }
        TAG_READ if guest.is_open(fd) && stdio::is_read(fd) => {
            let unread = guest.unread().len() as u64;
            Wait::Event(event(Errno::Success, unread, if unread == 0 { FLAG_HANGUP } else { 0 }))
        }
        TAG_WRITE if guest.is_open(fd) && stdio::is_written(fd) => {
            Wait::Event(event(Errno::Success, guest.room(fd), 0))
        }
        TAG_READ | TAG_WRITE => Wait::Event(event(Errno::Badf, 0, 0)),
        _ => Wait::Event(event(Errno::Inval, 0, 0)),
    }
}
