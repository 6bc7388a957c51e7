//! What must hold for any bytes at all: the targets, and a small seeded mutator to run them on stable.
//!
//! Owns: one function per door through which foreign bytes come in. A target panics when its door does
//! something that no input may make it do. Absent: judgement about which inputs are accepted; that is
//! what the tests beside the code are for.

mod edge;
mod mutator;
mod peer;
mod wire;

pub use edge::http_edge;
pub use mutator::{Mutator, SplitMix};
pub use peer::{peer, peer_corpus};
pub use wire::{wire, wire_corpus};

use talea_ledger::finality::{Commit, Equivocation, Vote};
use talea_ledger::profile::Profile;
use talea_ledger::rules::record::Record;
use talea_ledger::{
    Batch, Block, Bundle, Document, Draw, Evidence, Header, Input, NetworkParams, Offer, Output,
    Proof, Receipt, Registration, Request, Run, Sealed, Session, Transaction, Voucher,
};
use talea_meter::{Variant, inspect, instrument};

/// Reads `bytes` as a `T`; what is accepted must encode to the same bytes, or two encodings of one
/// document would have two names.
fn canonical<T: Document>(bytes: &[u8]) {
    if let Ok(document) = T::decode(bytes) {
        assert_eq!(document.encode(), bytes, "accepted bytes are not the document's encoding");
    }
}

/// The document decoder: every type reads every input.
pub fn document(bytes: &[u8]) {
    canonical::<Run>(bytes);
    canonical::<Input>(bytes);
    canonical::<Output>(bytes);
    canonical::<Receipt>(bytes);
    canonical::<Batch>(bytes);
    canonical::<Registration>(bytes);
    canonical::<Request>(bytes);
    canonical::<Bundle>(bytes);
    canonical::<Proof>(bytes);
    canonical::<NetworkParams>(bytes);
    canonical::<Transaction>(bytes);
    canonical::<Voucher>(bytes);
    canonical::<Session>(bytes);
    canonical::<Header>(bytes);
    canonical::<Record>(bytes);
    canonical::<Evidence>(bytes);
    canonical::<Vote>(bytes);
    canonical::<Commit>(bytes);
    canonical::<Equivocation>(bytes);
    canonical::<Offer>(bytes);
    if let Ok(draw) = Draw::decode(bytes) {
        assert_eq!(draw.encode(), bytes);
        let _ = draw.check();
    }
    if let Ok(block) = Block::decode(bytes) {
        assert_eq!(block.encode(), bytes);
    }
    if let Ok(sealed) = Sealed::decode(bytes) {
        assert_eq!(sealed.encode(), bytes);
        // Whatever it says, verifying it ends in a decision.
        let _ = sealed.verify::<Run>();
        let _ = sealed.verify::<Registration>();
        let _ = sealed.verify::<Request>();
        let _ = sealed.verify::<Batch>();
        let _ = sealed.verify::<Offer>();
        let _ = sealed.verify::<Draw>();
    }
    if let Ok(bundle) = Bundle::decode(bytes) {
        let _ = bundle.check();
    }
}

/// The module front door: anything is refused with a reason or rewritten into modules that validate,
/// and every variant says the same of it.
pub fn front_door(bytes: &[u8]) {
    let profile = Profile::v1();
    let inspected = inspect(bytes, &profile);
    for variant in [Variant::Exact, Variant::Fast, Variant::Explained] {
        match (instrument(bytes, &profile, variant), &inspected) {
            (Ok(metered), Ok(inspection)) => {
                assert_eq!(metered.inspection, *inspection, "two answers about one module");
                let mut validator = wasmparser::Validator::new();
                if let Err(e) = validator.validate_all(&metered.wasm) {
                    panic!("{variant:?}: the pass wrote a module that does not validate: {e}");
                }
            }
            (Err(refusal), Err(first)) => assert_eq!(refusal.reason, first.reason),
            (made, told) => panic!(
                "{variant:?}: inspection and pass disagree: {} and {}",
                made.is_ok(),
                told.is_ok()
            ),
        }
    }
}
