//! The three descriptors: 0 is the input's body, 1 the output's, 2 the log.
//!
//! In a handler 0 is at its end and 1 and 2 are the log: its body travels by the Talea ABI.
//! Invariant: what is asked is checked whole, then charged, then held against the run's bound, and
//! only then done.

use super::errno::Errno;
use super::guest::{Call, Guest, Stop};
use super::memory;
use crate::executor::bounds;
use talea_meter::Kind;

const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// `rights` of preview 1: reading, writing, polling.
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const RIGHT_POLL: u64 = 1 << 27;

/// Bytes of an `iovec`: pointer and length.
const IOVEC: u32 = 8;
/// Bytes of an `fdstat`.
const FDSTAT: usize = 24;
/// Bytes of a `filestat`.
const FILESTAT: usize = 64;

/// Which descriptors are still open, and how far the body is read.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    closed: [bool; 3],
    position: usize,
}

impl Guest {
    /// Whether this descriptor is open.
    pub(super) fn is_open(&self, fd: i32) -> bool {
        let index = usize::try_from(fd).ok();
        index.and_then(|index| self.descriptors.closed.get(index)).is_some_and(|closed| !closed)
    }

    /// What standard input has left.
    pub(super) fn unread(&self) -> &[u8] {
        match self.kind {
            Kind::Command => self.body().get(self.descriptors.position..).unwrap_or_default(),
            Kind::Handler => &[],
        }
    }

    /// Whether this open descriptor writes to the output; otherwise it writes to the log.
    fn writes_output(&self, fd: i32) -> bool {
        fd == STDOUT && self.kind == Kind::Command
    }

    /// Bytes that this descriptor would still take.
    pub(super) fn room(&self, fd: i32) -> u64 {
        let limits = &self.invocation.limits;
        let (bound, used) = if self.writes_output(fd) {
            (limits.output, self.output.len())
        } else {
            (limits.log, self.log.len())
        };
        bound.saturating_sub(used as u64)
    }
}

/// Whether a descriptor is standard output or standard error.
pub(super) fn is_written(fd: i32) -> bool {
    fd == STDOUT || fd == STDERR
}

/// Whether a descriptor is standard input.
pub(super) fn is_read(fd: i32) -> bool {
    fd == STDIN
}

/// The buffers of a vectored call: each whole inside memory, and their sum one that can be told.
fn buffers(memory: &[u8], iovecs: i32, count: i32) -> Result<(Vec<(i32, u32)>, u32), Errno> {
    let count = count.cast_unsigned();
    if count > bounds::IOVECS_MAX {
        return Err(Errno::Inval);
    }
    let list = memory::bytes(memory, iovecs, count * IOVEC).ok_or(Errno::Fault)?;
    let mut sum = 0_u32;
    let mut found = Vec::with_capacity(list.len() / IOVEC as usize);
    for entry in list.chunks_exact(IOVEC as usize) {
        let ptr = memory::read_u32(entry, 0).ok_or(Errno::Fault)?.cast_signed();
        let len = memory::read_u32(entry, 4).ok_or(Errno::Fault)?;
        memory::bytes(memory, ptr, len).ok_or(Errno::Fault)?;
        sum = sum.checked_add(len).ok_or(Errno::Inval)?;
        found.push((ptr, len));
    }
    Ok((found, sum))
}

/// Writes buffers to the output or the log.
///
/// # Cost
/// Flat, and per KiB written.
pub(super) fn fd_write(
    call: &mut Call<'_>,
    fd: i32,
    iovecs: i32,
    count: i32,
    written: i32,
) -> Result<Errno, Stop> {
    let (memory, guest) = call.parts();
    if !guest.is_open(fd) || !is_written(fd) {
        return Ok(Errno::Badf);
    }
    let (list, sum) = match buffers(memory, iovecs, count) {
        Ok(found) => found,
        Err(errno) => return Ok(errno),
    };
    if memory::bytes(memory, written, 4).is_none() {
        return Ok(Errno::Fault);
    }
    call.charge_bytes(u64::from(sum))?;
    let (memory, guest) = call.parts();
    let is_output = guest.writes_output(fd);
    let more = usize::try_from(sum).unwrap_or(usize::MAX);
    if is_output {
        guest.output_fits(more)?
    } else {
        guest.log_fits(more)?
    }
    for (ptr, len) in list {
        let bytes = memory::bytes(memory, ptr, len).unwrap_or_default();
        if is_output {
            guest.put_output(bytes);
        } else {
            guest.log.extend_from_slice(bytes);
        }
    }
    let _ = memory::put(memory, written, &sum.to_le_bytes());
    Ok(Errno::Success)
}

/// Reads the body into buffers.
///
/// # Cost
/// Flat, and per KiB read.
pub(super) fn fd_read(
    call: &mut Call<'_>,
    fd: i32,
    iovecs: i32,
    count: i32,
    read: i32,
) -> Result<Errno, Stop> {
    let (memory, guest) = call.parts();
    if !guest.is_open(fd) || !is_read(fd) {
        return Ok(Errno::Badf);
    }
    let (list, sum) = match buffers(memory, iovecs, count) {
        Ok(found) => found,
        Err(errno) => return Ok(errno),
    };
    if memory::bytes(memory, read, 4).is_none() {
        return Ok(Errno::Fault);
    }
    let unread = u32::try_from(guest.unread().len()).unwrap_or(u32::MAX);
    let total = sum.min(unread);
    call.charge_bytes(u64::from(total))?;
    let (memory, guest) = call.parts();
    let mut left = total;
    for (ptr, len) in list {
        let n = len.min(left);
        let size = usize::try_from(n).unwrap_or(usize::MAX);
        let Some(part) = guest.unread().get(..size) else { break };
        let _ = memory::put(memory, ptr, part);
        guest.descriptors.position += size;
        left -= n;
    }
    let _ = memory::put(memory, read, &total.to_le_bytes());
    Ok(Errno::Success)
}

/// Tells what a descriptor is: a stream of unknown kind, so that no libc takes it for a terminal.
///
/// # Cost
/// Flat.
pub(super) fn fd_fdstat_get(call: &mut Call<'_>, fd: i32, out: i32) -> Result<Errno, Stop> {
    let (memory, guest) = call.parts();
    if !guest.is_open(fd) {
        return Ok(Errno::Badf);
    }
    let rights = RIGHT_POLL | if is_read(fd) { RIGHT_READ } else { RIGHT_WRITE };
    let mut stat = [0; FDSTAT];
    // Kind (0, unknown) and flags stay zero; then the rights, and none to inherit.
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    Ok(memory::put(memory, out, &stat).map_or(Errno::Fault, |()| Errno::Success))
}

/// Tells the attributes of a descriptor: all zero, the kind unknown.
///
/// # Cost
/// Flat.
pub(super) fn fd_filestat_get(call: &mut Call<'_>, fd: i32, out: i32) -> Result<Errno, Stop> {
    let (memory, guest) = call.parts();
    if !guest.is_open(fd) {
        return Ok(Errno::Badf);
    }
    Ok(memory::put(memory, out, &[0; FILESTAT]).map_or(Errno::Fault, |()| Errno::Success))
}

/// Closes a descriptor.
///
/// # Cost
/// Flat.
pub(super) fn fd_close(call: &mut Call<'_>, fd: i32) -> Result<Errno, Stop> {
    let guest = call.guest();
    if !guest.is_open(fd) {
        return Ok(Errno::Badf);
    }
    if let Some(closed) =
        usize::try_from(fd).ok().and_then(|fd| guest.descriptors.closed.get_mut(fd))
    {
        *closed = true;
    }
    Ok(Errno::Success)
}

/// What an open descriptor answers to something it cannot do; any other one does not exist.
///
/// # Cost
/// Flat.
pub(super) fn refuse(call: &mut Call<'_>, fd: i32, errno: Errno) -> Result<Errno, Stop> {
    Ok(if call.guest().is_open(fd) { errno } else { Errno::Badf })
}
