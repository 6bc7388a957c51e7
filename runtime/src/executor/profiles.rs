//! Profiles known here.
use std::sync::LazyLock;

use talea_ledger::id::ProfileId;
use talea_ledger::profile::Profile;

static KNOWN: LazyLock<Vec<(ProfileId, Profile)>> =
    LazyLock::new(|| vec![(ProfileId::of(b"profile edition 1"), Profile::v1())]);

pub(super) fn all() -> &'static [(ProfileId, Profile)] {
    &KNOWN
}

pub(super) fn by_id(id: ProfileId) -> Option<&'static Profile> {
    KNOWN.iter().find(|(known, _)| *known == id).map(|(_, profile)| profile)
}
