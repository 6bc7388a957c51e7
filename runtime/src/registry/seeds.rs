//! Where free runs get their seed from: one generator per node, seeded from the system at start.
//!
//! ChaCha20 under a lock costs a tenth of asking the kernel for each call. Absent: the system's entropy;
//! `node` reads it once and a test gives a constant.

use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// The generator.
pub struct Seeds(Mutex<ChaCha20Rng>);

impl Seeds {
    /// A generator that gives what `seed` determines.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Mutex::new(ChaCha20Rng::from_seed(seed)))
    }

    /// The seed of one run and a salt.
    pub(super) fn draw(&self) -> ([u8; 32], [u8; 16]) {
        let (mut seed, mut salt) = ([0; 32], [0; 16]);
        // A generator's state is whole after each call.
        let mut generator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generator.fill_bytes(&mut seed);
        generator.fill_bytes(&mut salt);
        (seed, salt)
    }
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The state would give away every later seed.
        f.write_str("Seeds(..)")
    }
}
