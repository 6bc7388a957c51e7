//! The bill against the formula computed another way, and at its edges.

use std::fmt::Write as _;

use proptest::prelude::*;
use talea_ledger::price::bill;
use talea_ledger::{Fuel, Price, Tal};

/// ceil(a x b / c) by long division in base 2^32 of the product, without a 128-bit product.
fn ceil_of_product(a: u64, b: u64, c: u64) -> u128 {
    // a = q c + r, so a b / c = q b + r b / c, and r < c <= 10^6 keeps r b small.
    let (quotient, rest) = (a / c, a % c);
    let small = u128::from(rest) * u128::from(b);
    let whole = small / u128::from(c);
    let up = u128::from(small % u128::from(c) != 0);
    u128::from(quotient) * u128::from(b) + whole + up
}

proptest! {
    #[test]
    fn the_formula(
        per_call in any::<u64>(), rate in any::<u64>(), per_kib in any::<u64>(),
        fuel in any::<u64>(), bytes in any::<u64>(), cap in any::<u64>(), shift in 0..64_u32,
    ) {
        let (rate, per_kib) = (rate >> shift, per_kib >> shift);
        let price = Price { per_kib: Tal(per_kib), per_call: Tal(per_call >> shift), rate };
        let total = u128::from(price.per_call.0)
            + ceil_of_product(fuel, rate, 1_000_000)
            + ceil_of_product(bytes, per_kib, 1024);
        let due = total.min(u128::from(cap));
        prop_assert_eq!(u128::from(bill(&price, Fuel(fuel), bytes, Tal(cap)).0), due);
    }
}

#[test]
fn edges() {
    let price = Price { per_kib: Tal(1024), per_call: Tal(5), rate: 1_000_000 };
    let uncapped = |fuel, bytes| bill(&price, Fuel(fuel), bytes, Tal::MAX).0;
    assert_eq!(uncapped(0, 0), 5);
    assert_eq!(uncapped(1, 0), 6);
    assert_eq!(uncapped(0, 1), 6);
    let cheap = Price { per_kib: Tal(1), per_call: Tal(0), rate: 1 };
    // Each part is rounded up by itself: never free, never two more than due.
    assert_eq!(bill(&cheap, Fuel(1), 1, Tal::MAX), Tal(2));
    assert_eq!(bill(&cheap, Fuel(1_000_000), 1024, Tal::MAX), Tal(2));
    assert_eq!(bill(&cheap, Fuel(1_000_001), 1025, Tal::MAX), Tal(4));
    // Above the cap it is the cap, at the cap too, whatever the numbers.
    assert_eq!(bill(&price, Fuel(100), 0, Tal(104)), Tal(104));
    assert_eq!(bill(&price, Fuel(100), 0, Tal(105)), Tal(105));
    assert_eq!(bill(&price, Fuel(100), 0, Tal(106)), Tal(105));
    let dear = Price { per_kib: Tal::MAX, per_call: Tal::MAX, rate: u64::MAX };
    assert_eq!(bill(&dear, Fuel::MAX, u64::MAX, Tal::MAX), Tal::MAX);
    assert_eq!(bill(&dear, Fuel::MAX, u64::MAX, Tal::ZERO), Tal::ZERO);
    assert_eq!(bill(&Price::FREE, Fuel::MAX, u64::MAX, Tal::MAX), Tal::ZERO);
}

#[test]
fn golden() {
    let parts = [0, 1, 5, 100, 1024, 999_999, u64::MAX];
    let amounts = [0, 1, 1023, 1024, 1025, 1_000_000, 1_000_001, 987_654_321, u64::MAX];
    let caps = [u64::MAX, u64::MAX, u64::MAX, 105, 0];
    let mut text = String::from("# per_kib per_call rate fuel bytes cap bill\n");
    // Steps without a common factor: every value meets many others, and no line comes twice.
    for at in 0..140_usize {
        let part = |step: usize| parts[(at * step + at / 7) % parts.len()];
        let amount = |step: usize| amounts[(at * step + at / 9) % amounts.len()];
        let (kib, call, rate) = (part(1), part(3), part(5));
        let (fuel, bytes, cap) = (amount(2), amount(5), caps[at % caps.len()]);
        let price = Price { per_kib: Tal(kib), per_call: Tal(call), rate };
        let due = bill(&price, Fuel(fuel), bytes, Tal(cap)).0;
        writeln!(text, "{kib} {call} {rate} {fuel} {bytes} {cap} {due}").unwrap();
    }
    crate::golden::check("bills.txt", &text);
}
