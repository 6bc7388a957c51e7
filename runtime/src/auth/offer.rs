//! What a host takes and gives, and whether a run lies within it.

use talea_ledger::price::bill;
use talea_ledger::{Fuel, NetworkId, Pages, Price, ProfileId, PublicKey, Run, Tal, UnixNanos};

use super::AuthorizeError;
use crate::limits;

/// A host's terms. Shown in every 402 and in the node's description.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The network.
    pub network: NetworkId,
    /// The host.
    pub host: PublicKey,
    /// The only profile that runs are executed under.
    pub profile: ProfileId,
    /// What it costs at least.
    pub price: Price,
    /// Fuel of one run at most: what the owner allows, and no more than the wall-clock limit covers at
    /// the profile's worst time per fuel.
    pub fuel_max: Fuel,
    /// Memory of one run at most.
    pub memory_max: Pages,
    /// Output body of one run at most.
    pub output_len_max: u64,
    /// Log of one run at most.
    pub log_len_max: u64,
    /// Work of one channel at most that no voucher covers yet.
    pub watermark: Tal,
}

impl Offer {
    /// The highest bill that limits allow. What a cap must cover.
    pub fn bill_max(&self, price: &Price, fuel: Fuel, input_len: u64, output_len: u64) -> Tal {
        bill(price, fuel, input_len.saturating_add(output_len), Tal::MAX)
    }

    /// Whether a run that its payer has signed is for this host, now, and within its terms.
    pub(super) fn covers(&self, run: &Run, now: UnixNanos) -> Result<(), AuthorizeError> {
        if run.network != self.network {
            return Err(AuthorizeError::NetworkForeign { given: run.network, ours: self.network });
        }
        let payment = run.payment.as_ref().ok_or(AuthorizeError::PaymentMissing)?;
        if let Some(given) = payment.host.filter(|host| *host != self.host) {
            return Err(AuthorizeError::HostForeign { given, ours: self.host });
        }
        if payment.expires <= now {
            return Err(AuthorizeError::Expired { expired: payment.expires, now });
        }
        let ahead = i128::from(run.clock.0) - i128::from(now.0);
        if ahead.unsigned_abs() > u128::from(limits::CLOCK_SKEW_NANOS) {
            let edge = if ahead < 0 { i64::MIN } else { i64::MAX };
            return Err(AuthorizeError::ClockFar { ahead: i64::try_from(ahead).unwrap_or(edge) });
        }
        if run.profile != self.profile {
            return Err(AuthorizeError::ProfileUnknown { given: run.profile });
        }
        self.covers_limits(run)?;
        self.covers_price(&run.price)?;
        let needed = self.bill_max(&run.price, run.fuel_limit, run.input_len, run.output_limit);
        if payment.cap < needed {
            return Err(AuthorizeError::CapLow { given: payment.cap, needed });
        }
        Ok(())
    }

    fn covers_limits(&self, run: &Run) -> Result<(), AuthorizeError> {
        let limits = [
            ("fuel", run.fuel_limit.0, self.fuel_max.0),
            ("memory", u64::from(run.memory_limit.0), u64::from(self.memory_max.0)),
            ("output", run.output_limit, self.output_len_max),
            ("log", run.log_limit, self.log_len_max),
        ];
        match limits.into_iter().find(|(_, given, ours)| given > ours) {
            Some((part, given, ours)) => Err(AuthorizeError::LimitHigh { part, given, ours }),
            None => Ok(()),
        }
    }

    fn covers_price(&self, price: &Price) -> Result<(), AuthorizeError> {
        let parts = [
            ("per_call", price.per_call.0, self.price.per_call.0),
            ("rate", price.rate, self.price.rate),
            ("per_kib", price.per_kib.0, self.price.per_kib.0),
        ];
        match parts.into_iter().find(|(_, given, ours)| given < ours) {
            Some((part, given, ours)) => Err(AuthorizeError::PriceLow { part, given, ours }),
            None => Ok(()),
        }
    }
}
