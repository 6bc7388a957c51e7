//! One run's state, and the door that every host call goes through.

use std::sync::Arc;

use bytes::Bytes;
use talea_ledger::outcome::LimitKind;
use talea_ledger::profile::{HostCall, Profile};
use talea_meter::Kind;
use wasmtime::{Caller, Memory};

use super::clock::VirtualClock;
use super::fields::Fields;
use super::headers::Headers;
use super::meter::Meter;
use super::random::KeyStream;
use super::stdio::Descriptors;
use crate::executor::Invocation;
use crate::executor::limiter::Limiter;
use crate::executor::watch::{HostStop, Watch};

/// Up to here the output's buffer grows by doubling. Beyond, it is made as long as the run may write, once: pages that
/// are not written take no memory, while a buffer that is moved is held twice. Twice a guest's usual answer is far below.
const OUTPUT_STEPS: usize = 1024 * 1024;

/// Why a host call did not return to its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::executor) enum Stop {
    /// The guest asked to end, with this code.
    #[error("exit({0})")]
    Exit(u32),
    /// The fuel used is above the run's limit.
    #[error("out of fuel")]
    OutOfFuel,
    /// A write would have passed a bound.
    #[error("limit({0:?})")]
    Limit(LimitKind),
    /// The counted depth is above the variant's.
    #[error("depth")]
    Depth,
    /// The host ends the run, for its own reasons.
    #[error("the host ended the run: {0}")]
    Host(HostStop),
    /// The module did what no output of the pass does.
    #[error("the metered module broke its contract")]
    Broken,
}

/// What a run reads, and what it has done so far.
pub(in crate::executor) struct Guest {
    pub(in crate::executor) meter: Meter,
    pub(in crate::executor) limiter: Limiter,
    pub(in crate::executor) watch: Arc<Watch>,
    /// Set once the instance exists; its memory is the one every pointer means.
    pub(in crate::executor) memory: Option<Memory>,
    pub(super) invocation: Arc<Invocation>,
    pub(super) kind: Kind,
    pub(super) fields: Fields,
    pub(super) clock: VirtualClock,
    pub(super) random: KeyStream,
    pub(super) descriptors: Descriptors,
    /// The body of the output so far.
    pub(in crate::executor) output: Vec<u8>,
    /// The log so far.
    pub(in crate::executor) log: Vec<u8>,
    pub(in crate::executor) headers: Headers,
}

impl Guest {
    /// The state of a run before its first instruction.
    pub(in crate::executor) fn new(
        invocation: Arc<Invocation>,
        profile: &Profile,
        kind: Kind,
        meter: Meter,
        watch: Arc<Watch>,
    ) -> Self {
        Self {
            meter,
            limiter: Limiter::new(invocation.limits.memory, profile.bounds.table_entries),
            watch,
            memory: None,
            kind,
            fields: Fields::default(),
            clock: VirtualClock::new(invocation.clock, profile.clock),
            random: KeyStream::new(invocation.seed),
            descriptors: Descriptors::default(),
            output: Vec::new(),
            log: Vec::new(),
            headers: Headers::default(),
            invocation,
        }
    }

    /// The body of the input.
    pub(super) fn body(&self) -> &Bytes {
        &self.invocation.body
    }

    /// Appends to the output, or ends the run when that would pass its bound.
    pub(super) fn append_output(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.output_fits(bytes.len())?;
        self.put_output(bytes);
        Ok(())
    }

    /// Appends to the output what is known to fit.
    pub(super) fn put_output(&mut self, bytes: &[u8]) {
        make_room(&mut self.output, bytes.len(), self.invocation.limits.output);
        self.output.extend_from_slice(bytes);
    }

    /// Appends to the log, or ends the run when that would pass its bound.
    pub(super) fn append_log(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.log_fits(bytes.len())?;
        self.log.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether so many more bytes of log are within the run's bound.
    pub(super) fn log_fits(&self, more: usize) -> Result<(), Stop> {
        fits(self.log.len(), more, self.invocation.limits.log, LimitKind::Log)
    }

    /// Whether so many more bytes of output are within the run's bound.
    pub(super) fn output_fits(&self, more: usize) -> Result<(), Stop> {
        fits(self.output.len(), more, self.invocation.limits.output, LimitKind::Output)
    }
}

/// Makes room for more of an output that may become `bound` bytes long.
fn make_room(output: &mut Vec<u8>, more: usize, bound: u64) {
    let (len, total) = (output.len(), output.len().saturating_add(more));
    if total > output.capacity() && total > OUTPUT_STEPS {
        let bound = usize::try_from(bound).unwrap_or(total);
        output.reserve_exact(bound.max(total).saturating_sub(len));
    }
}

fn fits(len: usize, more: usize, bound: u64, kind: LimitKind) -> Result<(), Stop> {
    let total = (len as u64).saturating_add(more as u64);
    if total > bound { Err(Stop::Limit(kind)) } else { Ok(()) }
}

/// A host call's price and its place in the profile's list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    index: usize,
    flat: u64,
    per_kib: u64,
}

impl Price {
    /// The price of an import. The profile lists every import of the ABI; a test holds that.
    pub(super) fn of(profile: &Profile, module: &str, name: &str) -> wasmtime::Result<Self> {
        let found = profile.host_calls.iter().position(|c| c.module == module && c.name == name);
        let Some((index, HostCall { flat, per_kib, .. })) =
            found.and_then(|index| Some((index, profile.host_calls.get(index)?)))
        else {
            return Err(wasmtime::format_err!("{module}.{name} has no price in the profile"));
        };
        Ok(Self { index, flat: *flat, per_kib: *per_kib })
    }
}

/// One host call at work: its flat price is paid.
pub(super) struct Call<'a> {
    caller: Caller<'a, Guest>,
    price: Price,
    counter: i64,
}

impl<'a> Call<'a> {
    /// Takes the flat price off the counter that came in.
    pub(super) fn enter(
        mut caller: Caller<'a, Guest>,
        price: Price,
        counter: i64,
    ) -> Result<Self, Stop> {
        let counter = caller.data_mut().meter.charge(counter, price.index, price.flat)?;
        Ok(Self { caller, price, counter })
    }

    /// Charges for bytes moved, by the KiB begun.
    pub(super) fn charge_bytes(&mut self, bytes: u64) -> Result<(), Stop> {
        let fuel = bytes.div_ceil(1024).saturating_mul(self.price.per_kib);
        let meter = &mut self.caller.data_mut().meter;
        self.counter = meter.charge(self.counter, self.price.index, fuel)?;
        Ok(())
    }

    /// The guest's memory and the run's state. A module without a memory has an empty one.
    pub(super) fn parts(&mut self) -> (&mut [u8], &mut Guest) {
        match self.caller.data().memory {
            Some(memory) => memory.data_and_store_mut(&mut self.caller),
            None => (&mut [], self.caller.data_mut()),
        }
    }

    /// The run's state.
    pub(super) fn guest(&mut self) -> &mut Guest {
        self.caller.data_mut()
    }

    /// The counter to hand back.
    pub(super) fn leave(self) -> i64 {
        self.counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_is_moved_once_and_a_short_one_takes_no_more_than_it_needs() {
        const BOUND: usize = 8 * OUTPUT_STEPS;
        let part = vec![7; 64 * 1024];
        let (mut output, mut places) = (Vec::new(), std::collections::BTreeSet::new());
        while output.len() < BOUND {
            make_room(&mut output, part.len(), BOUND as u64);
            output.extend_from_slice(&part);
            if output.len() <= OUTPUT_STEPS {
                assert!(output.capacity() <= OUTPUT_STEPS);
            } else {
                places.insert(output.as_ptr() as usize);
            }
        }
        assert_eq!(places.len(), 1, "beyond the steps it stays where it is");
        assert_eq!((output.len(), output.capacity()), (BOUND, BOUND));
        // More than a bound that does not hold: the buffer still has room.
        make_room(&mut output, 5, BOUND as u64);
        assert!(output.capacity() >= BOUND + 5);
    }
}
