//! The price of a run and the bill it gives.

use crate::codec::record;
use crate::units::{Fuel, Tal};

/// Fuel that `rate` is the price of.
const FUEL_PER_RATE: u128 = 1_000_000;
/// Bytes that `per_kib` is the price of.
const BYTES_PER_KIB: u128 = 1024;

record! {
    /// What a host asks for: per call, per million units of fuel, per KiB of input and output bodies.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Price {
        /// For 1,024 bytes of input and output bodies together.
        "kib" => pub per_kib: Tal,
        /// For the call as such.
        "call" => pub per_call: Tal,
        /// Tal for one million units of fuel.
        "rate" => pub rate: u64,
    }
}

impl Price {
    /// Nothing for anything.
    pub const FREE: Self = Self { per_kib: Tal::ZERO, per_call: Tal::ZERO, rate: 0 };
}

/// per_call + ceil(fuel x rate / 10^6) + ceil(body_bytes x per_kib / 1024), at most `cap`.
///
/// In u128 nothing overflows: a product of two u64 is below 2^128, and the sum of 2^64, 2^128 / 10^6 and
/// 2^128 / 2^10 is below 2^119; the saturating operations never saturate.
/// A free run has no cap, which is a cap of zero: its bill is zero.
pub fn bill(price: &Price, fuel: Fuel, body_bytes: u64, cap: Tal) -> Tal {
    let work = u128::from(fuel.0).saturating_mul(u128::from(price.rate)).div_ceil(FUEL_PER_RATE);
    let transfer =
        u128::from(body_bytes).saturating_mul(u128::from(price.per_kib.0)).div_ceil(BYTES_PER_KIB);
    let total = u128::from(price.per_call.0).saturating_add(work).saturating_add(transfer);
    u64::try_from(total).map_or(cap, |total| cap.min(Tal(total)))
}
