//! What ties a forwarded run together: the caller's receipt, the draw, and the receipt of the host that was drawn.

use crate::audit;
use crate::audit::Field as ReceiptField;
use crate::batch::{Proof, verify_receipt};
use crate::block::Header;
use crate::bundle::{BundledRun, ReceiptPayload};
use crate::codec::{self, DecodeError, Field, List, record};
use crate::draw::{CANDIDATES_MAX, Draw, DrawError};
use crate::id::{DrawId, PublicKey, ReceiptId, RunId};
use crate::offer::Offer;
use crate::receipt::Receipt;
use crate::run::Run;
use crate::sign::{Sealed, Verified, VerifyError};

record! {
    /// The papers of a forward, as they lie in a bundle beside the gateway's receipt.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Forward {
        /// The gateway's own run.
        "run" => pub run: BundledRun,
        /// The record of the draw, signed by the gateway.
        "draw" => pub draw: Sealed,
        /// The header of the block that the draw names.
        "head" => pub header: Option<Sealed>,
        /// What leads the inner receipt to a signature.
        "proof" => pub proof: Proof,
        /// Offers of candidates: all, some or none of them.
        "offers" => pub offers: List<Sealed, CANDIDATES_MAX>,
        /// The receipt of the host that was drawn.
        "receipt" => pub receipt: ReceiptPayload,
    }
}

/// Why the papers of a forwarded run do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The record of the draw.
    #[error("draw: {0}")]
    Draw(#[from] DrawError),
    /// A signature or proof does not hold.
    #[error("{part}: {source}")]
    Verify {
        /// Of which part.
        part: &'static str,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// The gateway's receipt says that it ran the function itself.
    #[error("the receipt names no draw")]
    NotForwarded,
    /// A part is not the one that is named.
    #[error("{0} is not the one that is named")]
    Link(&'static str),
    /// The run was executed by another host than the one drawn.
    #[error("{found} executed it, but {drawn} was drawn")]
    Host {
        /// Who was drawn.
        drawn: PublicKey,
        /// Who signed the inner receipt.
        found: PublicKey,
    },
    /// The gateway ordered something else than its caller did.
    #[error("the gateway's own run differs from its caller's in {0}")]
    Run(&'static str),
    /// The inner receipt is not one for the gateway's own run, or another key paid for that.
    #[error("the inner receipt's {0} is not that of the gateway's own run")]
    Inner(ReceiptField),
    /// The gateway told its caller something else than it was told.
    #[error("the gateway's receipt differs from the inner one in {0}")]
    Receipt(&'static str),
}

/// Papers of a forward that hold. Only [`Forward::check`] makes one.
#[derive(Debug, Clone)]
pub struct CheckedForward {
    draw: Verified<Draw>,
    receipt: Verified<Receipt>,
    header: Option<Verified<Header>>,
    offers: usize,
}

// === impl Forward ===

impl Forward {
    /// No papers are longer.
    pub const LEN_MAX: usize = <Self as Field>::LEN_MAX;

    /// The papers alone, as a gateway keeps them beside its receipt.
    pub fn encode(&self) -> Vec<u8> {
        codec::to_bytes(self, 8192)
    }

    /// Reads papers that fill `bytes` to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(bytes, Self::LEN_MAX)
    }

    /// Checks the papers against the caller's run and the receipt that the gateway gave for it: every signature and
    /// proof, the draw with its block and offers as far as they are here, that the host drawn is the one that
    /// executed, that the gateway ordered what its caller did, and that it passed on what it was told.
    pub fn check(&self, run: &Run, receipt: &Receipt) -> Result<CheckedForward, ForwardError> {
        let draw: Verified<Draw> = self.draw.verify().map_err(of("draw"))?;
        let inner = verify_receipt(&self.receipt, &self.proof).map_err(of("inner receipt"))?;
        let opened = self.run.open().map_err(|_| ForwardError::Link("the gateway's own run"))?;
        let (inner_run, payer) = opened;
        check_forward((run, receipt), &draw, (&inner_run, &inner))?;
        if let Some(difference) = audit::against_run(inner.document(), &inner_run) {
            return Err(ForwardError::Inner(difference.field));
        }
        if payer != inner.document().payment.as_ref().map(|payment| payment.payer) {
            return Err(ForwardError::Inner(ReceiptField::Payment));
        }
        let header = match &self.header {
            None => None,
            Some(sealed) => {
                let header: Verified<Header> = sealed.verify().map_err(of("block"))?;
                draw.document().check_block(&header)?;
                Some(header)
            }
        };
        let mut offers: Vec<Verified<Offer>> = Vec::new();
        for sealed in self.offers.iter() {
            offers.push(sealed.verify().map_err(of("offer"))?);
        }
        let offers = draw.document().check_offers(run, &offers)?;
        Ok(CheckedForward { draw, receipt: inner, header, offers })
    }
}

fn of(part: &'static str) -> impl FnOnce(VerifyError) -> ForwardError {
    move |source| ForwardError::Verify { part, source }
}

// === impl CheckedForward ===

impl CheckedForward {
    /// The draw.
    pub fn draw(&self) -> &Verified<Draw> {
        &self.draw
    }

    /// The receipt of the host that was drawn.
    pub fn receipt(&self) -> &Verified<Receipt> {
        &self.receipt
    }

    /// The header of the draw's block, if it is there.
    pub fn header(&self) -> Option<&Verified<Header>> {
        self.header.as_ref()
    }

    /// How many of the candidates' offers were there.
    pub fn offers(&self) -> usize {
        self.offers
    }
}

/// The links between the papers of a forward, their signatures and proofs checked before.
fn check_forward(
    (outer_run, outer): (&Run, &Receipt),
    draw: &Verified<Draw>,
    (inner_run, inner): (&Run, &Verified<Receipt>),
) -> Result<(), ForwardError> {
    let (record, payload, inner) = (draw.document(), inner.payload(), inner.document());
    let named = outer.forwarded.as_ref().ok_or(ForwardError::NotForwarded)?;
    let drawn = record.check()?;
    let links = [
        ("the draw", named.draw == DrawId::of(draw.payload())),
        ("the inner receipt", named.receipt == ReceiptId::of(payload)),
        ("the caller's run", record.run == outer.run && outer_run.id() == outer.run),
        ("the gateway's own run", record.inner == inner.run),
        ("the gateway", record.gateway == outer.host),
        ("the network", record.network == outer.network && inner.network == outer.network),
    ];
    if let Some((part, _)) = links.into_iter().find(|(_, holds)| !holds) {
        return Err(ForwardError::Link(part));
    }
    if inner.host != drawn.host {
        return Err(ForwardError::Host { drawn: drawn.host, found: inner.host });
    }
    same_work(outer_run, inner_run, &record.inner, &drawn.host)?;
    let same = [
        ("fn", outer.function == inner.function),
        ("in", outer.input == inner.input),
        ("inn", outer.input_len == inner.input_len),
        ("prof", outer.profile == inner.profile),
        ("outcome", outer.outcome == inner.outcome),
        ("fuel", outer.fuel == inner.fuel),
        ("hfuel", outer.host_fuel == inner.host_fuel),
        ("mem", outer.peak_pages == inner.peak_pages),
        ("out", outer.output == inner.output),
        ("outn", outer.output_len == inner.output_len),
    ];
    match same.into_iter().find(|(_, holds)| !holds) {
        Some((field, _)) => Err(ForwardError::Receipt(field)),
        None => Ok(()),
    }
}

/// Whether the gateway ordered what its caller did: all but price and payment, so that fuel and output are the same.
fn same_work(
    outer: &Run,
    inner: &Run,
    named: &RunId,
    host: &PublicKey,
) -> Result<(), ForwardError> {
    if inner.id() != *named {
        return Err(ForwardError::Link("the gateway's own run"));
    }
    let same = [
        ("fn", outer.function == inner.function),
        ("in", outer.input == inner.input),
        ("cgi", outer.cgi == inner.cgi),
        ("clk", outer.clock == inner.clock),
        ("inn", outer.input_len == inner.input_len),
        ("net", outer.network == inner.network),
        ("prof", outer.profile == inner.profile),
        ("seed", outer.seed == inner.seed),
        ("logmax", outer.log_limit == inner.log_limit),
        ("memmax", outer.memory_limit == inner.memory_limit),
        ("outmax", outer.output_limit == inner.output_limit),
        ("fuelmax", outer.fuel_limit == inner.fuel_limit),
        ("host", inner.payment.as_ref().is_none_or(|pay| pay.host == Some(*host))),
    ];
    match same.into_iter().find(|(_, holds)| !holds) {
        Some((field, _)) => Err(ForwardError::Run(field)),
        None => Ok(()),
    }
}
