//! What belongs to one profile: its two engines, their linkers, and the room in their pools.

use std::fmt;

use talea_ledger::id::ProfileId;
use talea_ledger::profile::Profile;
use talea_meter::Variant;
use wasmtime::{Engine, Linker};

use super::compile::tier;
use super::engine::{self, EngineId, Purpose, Tier};
use super::host::{self, Guest};
use super::slots::Slots;

/// An engine at work.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) id: EngineId,
    pub(super) linker: Linker<Guest>,
    pub(super) slots: Slots,
}

/// The machines of one profile.
pub(super) struct House {
    pub(super) profile: &'static Profile,
    pub(super) profile_id: ProfileId,
    fast: Machine,
    exact: Machine,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("profile", &self.profile_id).finish_non_exhaustive()
    }
}

/// Instances that each tier may have at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) fast: u32,
    pub(super) exact: u32,
}

impl House {
    /// Builds the engines of a profile and reserves their pools.
    pub(super) fn build(
        profile: &'static Profile,
        profile_id: ProfileId,
        room: Room,
    ) -> wasmtime::Result<Self> {
        let machine = |tier, slots| {
            let (engine, id) = engine::build(profile, tier, Purpose::Running { slots })?;
            let linker = host::linker(&engine, profile)?;
            Ok::<_, wasmtime::Error>(Machine { engine, id, linker, slots: Slots::new(slots) })
        };
        Ok(Self {
            profile,
            profile_id,
            fast: machine(Tier::Fast, room.fast)?,
            exact: machine(Tier::Exact, room.exact)?,
        })
    }

    /// The ids of its engines.
    pub(super) fn engine_ids(&self) -> [EngineId; 2] {
        [self.fast.id, self.exact.id]
    }

    /// Instances alive.
    pub(super) fn instances(&self) -> u32 {
        self.fast.slots.taken().saturating_add(self.exact.slots.taken())
    }

    /// The machine that runs a variant.
    pub(super) fn machine(&self, variant: Variant) -> &Machine {
        match tier(variant) {
            Tier::Fast => &self.fast,
            Tier::Exact => &self.exact,
        }
    }
}
