//! The counter: what was granted, what is left, and the two imports of the metering pass.
//!
//! Invariant: fuel used = granted - counter, at every point where the host sees the counter, whatever
//! the size of a slice. Slices decide when a run yields, never what it costs.

use std::future::poll_fn;
use std::task::Poll;

use talea_ledger::units::Fuel;
use wasmtime::{Caller, Linker};

use super::guest::{Guest, Stop};
use crate::executor::bounds;

/// The fuel of one run.
#[derive(Debug)]
pub(in crate::executor) struct Meter {
    limit: u64,
    slice: u64,
    granted: u64,
    /// The counter as the host saw it last.
    counter: i64,
    /// Fuel of host calls.
    host: u64,
    /// The same by import, in the profile's order, when somebody wants to know.
    tally: Option<Vec<u64>>,
}

impl Meter {
    /// A meter that has charged the static fuel; `None` if that alone is above the limit.
    pub(in crate::executor) fn new(limit: Fuel, fixed: u64, slice: u64) -> Option<Self> {
        let limit = limit.0;
        // A slice above the cap would let the guest's own arithmetic overflow before a check.
        let slice = slice.clamp(1, bounds::SLICE_FUEL_MAX);
        let granted = fixed.saturating_add(slice).min(limit);
        let left = granted.checked_sub(fixed)?;
        let counter = i64::try_from(left).ok()?;
        Some(Self { limit, slice, granted, counter, host: 0, tally: None })
    }

    /// Counts host fuel by import too.
    pub(in crate::executor) fn with_tally(mut self, imports: usize) -> Self {
        self.tally = Some(vec![0; imports]);
        self
    }

    /// The counter as the host saw it last.
    pub(in crate::executor) fn counter(&self) -> i64 {
        self.counter
    }

    /// Notes the counter that the guest handed over.
    pub(in crate::executor) fn see(&mut self, counter: i64) {
        self.counter = counter;
    }

    /// Fuel used so far, unbounded by the limit.
    pub(in crate::executor) fn used(&self) -> u64 {
        let used = i128::from(self.granted) - i128::from(self.counter);
        u64::try_from(used.max(0)).unwrap_or(u64::MAX)
    }

    /// Whether more is used than the run allows.
    pub(in crate::executor) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// What the bill counts: what was used, at most the limit.
    pub(in crate::executor) fn billed(&self) -> Fuel {
        Fuel(self.used().min(self.limit))
    }

    /// Of it, what host calls took.
    pub(in crate::executor) fn host(&self) -> Fuel {
        Fuel(self.host.min(self.limit))
    }

    /// Host fuel by import, in the profile's order.
    pub(in crate::executor) fn tally(&self) -> &[u64] {
        self.tally.as_deref().unwrap_or_default()
    }

    /// Takes a host call's charge off a counter; above the limit the run ends before the effect. A run that
    /// was above it before the call, which the exact variant may have stopped earlier, is not charged for
    /// the call.
    pub(super) fn charge(&mut self, counter: i64, import: usize, fuel: u64) -> Result<i64, Stop> {
        self.counter = counter;
        if counter < 0 && self.is_over() {
            return Err(Stop::OutOfFuel);
        }
        self.counter = counter.saturating_sub(i64::try_from(fuel).unwrap_or(i64::MAX));
        self.host = self.host.saturating_add(fuel);
        if let Some(line) = self.tally.as_mut().and_then(|tally| tally.get_mut(import)) {
            *line = line.saturating_add(fuel);
        }
        if self.counter < 0 && self.is_over() { Err(Stop::OutOfFuel) } else { Ok(self.counter) }
    }

    /// Grants the next slice on top of what is used, or ends the run.
    fn grant(&mut self) -> Result<i64, Stop> {
        let used = self.used();
        if used > self.limit {
            return Err(Stop::OutOfFuel);
        }
        self.granted = used.saturating_add(self.slice).min(self.limit);
        self.counter = i64::try_from(self.granted.saturating_sub(used)).unwrap_or(i64::MAX);
        Ok(self.counter)
    }
}

/// Registers `slice` and `stop`.
pub(super) fn register(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        talea_meter::METER_MODULE,
        talea_meter::METER_SLICE,
        |mut caller: Caller<'_, Guest>, (counter,): (i64,)| {
            Box::new(async move {
                let guest = caller.data_mut();
                guest.meter.see(counter);
                if guest.meter.is_over() {
                    return Err(Stop::OutOfFuel.into());
                }
                yield_once().await;
                let guest = caller.data_mut();
                guest.watch.check().map_err(Stop::Host)?;
                Ok(guest.meter.grant()?)
            })
        },
    )?;
    linker.func_wrap(
        talea_meter::METER_MODULE,
        talea_meter::METER_STOP,
        |_: Caller<'_, Guest>, reason: i32| -> wasmtime::Result<()> {
            Err(if reason == talea_meter::STOP_STACK { Stop::Depth } else { Stop::Broken }.into())
        },
    )?;
    Ok(())
}

/// Pending once. Whoever drives the run polls it again when its turn comes; no waker is needed.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(
        |_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_does_not_depend_on_the_slice() {
        for slice in [1, 7, 1_000, u64::MAX] {
            let mut meter = Meter::new(Fuel(100), 10, slice).unwrap();
            let mut counter = meter.counter();
            for _ in 0..9 {
                counter -= 10;
                if counter < 0 {
                    meter.see(counter);
                    counter = meter.grant().unwrap();
                }
            }
            meter.see(counter);
            assert_eq!((meter.used(), meter.is_over()), (100, false));
            meter.see(counter - 1);
            assert!(meter.is_over());
            assert_eq!(meter.grant(), Err(Stop::OutOfFuel));
            assert_eq!(meter.billed(), Fuel(100));
        }
    }

    #[test]
    fn the_static_charge_alone_may_use_up_the_limit_and_no_more() {
        assert_eq!(Meter::new(Fuel(10), 10, 5).unwrap().counter(), 0);
        assert!(Meter::new(Fuel(9), 10, 5).is_none());
    }

    #[test]
    fn a_host_charge_counts_before_it_ends_the_run() {
        let mut meter = Meter::new(Fuel(100), 0, 50).unwrap().with_tally(2);
        assert_eq!(meter.charge(50, 1, 60), Ok(-10));
        assert_eq!(meter.charge(-10, 1, 41), Err(Stop::OutOfFuel));
        assert_eq!((meter.billed(), meter.host()), (Fuel(100), Fuel(100)));
        assert_eq!(meter.tally(), [0, 101]);
        // Above the limit already: the call never began.
        assert_eq!(meter.charge(-51, 1, 1), Err(Stop::OutOfFuel));
        assert_eq!(meter.tally(), [0, 101]);
    }
}
