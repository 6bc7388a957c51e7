//! Receipts' papers: of receipts kept here, for whoever asks; of others, from whoever keeps them.
//!
//! Who knows a receipt's CID may have its papers. The bodies are for those whom the receipt concerns, and only the host
//! can tell who that is: they never travel between nodes.

use bytes::Bytes;
use talea_gossip::{Gossip, PIECE_LEN_MAX, Wanted};
use talea_ledger::bundle::BundledRun;
use talea_ledger::draw::Forward;
use talea_ledger::{Bundle, DecodeError, Document as _, PublicKey, ReceiptId, Sealed};
use tokio::task::JoinSet;

use super::{ASK_TIME_MAX, ASKED_MAX, Supply};
use crate::chain::{KeptError, KeptReceipt, ReceiptReader};

/// Why a kept receipt has no papers.
#[derive(Debug, thiserror::Error)]
pub enum PapersError {
    /// What is kept could not be read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The run's envelope is none, or the papers of its forward are not.
    #[error("what was kept beside a receipt cannot be read")]
    Run(#[from] DecodeError),
    /// A part is longer than papers hold.
    #[error("a kept part is longer than a bundle holds")]
    TooLong,
}

/// A receipt with all that is needed to check it, but for the function.
pub fn bundle(
    receipts: &ReceiptReader,
    kept: &KeptReceipt,
    with_bodies: bool,
) -> Result<Vec<u8>, PapersError> {
    let too_long = |_| PapersError::TooLong;
    let body =
        |body: Option<Bytes>| body.map(|b| b.to_vec().try_into()).transpose().map_err(too_long);
    let (input_body, output_body) = match with_bodies {
        true => (receipts.input_body(kept)?, receipts.output_body(kept)?),
        false => (None, None),
    };
    let run = match kept.run() {
        crate::store::RunBytes::Free(payload) => {
            BundledRun::Free(payload.to_vec().try_into().map_err(too_long)?)
        }
        crate::store::RunBytes::Sealed(sealed) => BundledRun::Paid(Sealed::decode(sealed)?),
    };
    let bundle = Bundle {
        function: None,
        input: Some(kept.input().to_vec().try_into().map_err(too_long)?),
        output: Some(kept.output().to_vec().try_into().map_err(too_long)?),
        run,
        forward: kept.via().map(|papers| Forward::decode(papers)).transpose()?.map(Box::new),
        proof: kept.proof()?,
        input_body: body(input_body)?,
        output_body: body(output_body)?,
        receipt: kept.payload().to_vec().try_into().map_err(too_long)?,
    };
    Ok(bundle.encode())
}

impl Supply {
    /// The papers of a receipt that another node keeps, if a connected one does: they hold, and are of this receipt.
    pub async fn papers(&self, receipt: ReceiptId) -> Option<Vec<u8>> {
        let _place = self.transfers.try_acquire().ok()?;
        let gossip = &self.parts.gossip;
        let connected = gossip.peers();
        let mut answers = JoinSet::new();
        for peer in connected.iter().filter(|peer| peer.joined).take(ASKED_MAX) {
            answers.spawn(ask(gossip.clone(), peer.key, receipt));
        }
        let first = async {
            while let Some(answer) = answers.join_next().await {
                let Ok((peer, Some(bytes))) = answer else { continue };
                if holds(&bytes, receipt) {
                    return Some(bytes);
                }
                gossip.blame(peer, "wrong-papers");
            }
            None
        };
        tokio::time::timeout(ASK_TIME_MAX, first).await.ok().flatten()
    }
}

fn holds(bytes: &[u8], receipt: ReceiptId) -> bool {
    let bundle = Bundle::decode(bytes);
    bundle.is_ok_and(|bundle| ReceiptId::of(&bundle.receipt) == receipt && bundle.check().is_ok())
}

/// Asks one node. Papers without bodies are far below one piece.
async fn ask(gossip: Gossip, peer: PublicKey, receipt: ReceiptId) -> (PublicKey, Option<Vec<u8>>) {
    let wanted = Wanted::Document(receipt.digest());
    let piece = gossip.fetch(peer, wanted, 0, PIECE_LEN_MAX).await;
    let whole = piece.ok().filter(|piece| piece.total == piece.bytes.len() as u64);
    (peer, whole.map(|piece| piece.bytes))
}
