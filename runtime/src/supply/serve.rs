//! The answers to other nodes: pieces of functions, their registrations, papers of receipts.

use std::sync::{Arc, PoisonError};

use talea_gossip::{NotHere, PIECE_LEN_MAX, Piece, Wanted};
use talea_ledger::{FunctionId, ReceiptId};
use tokio::sync::oneshot;

use super::Supply;
use super::papers::{self, PapersError};
use crate::store::{ReadError, ShelfError};

/// Where the answer goes. Dropped, it says that this node is busy.
type Reply = oneshot::Sender<Result<Piece, NotHere>>;

/// Why what is held here could not be read.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Papers(#[from] PapersError),
}

impl Supply {
    /// Answers a node that wants some bytes. Reads the disk on a thread where that may take its time; when too many
    /// do already, the node is told to come again.
    pub fn serve(self: &Arc<Self>, wanted: Wanted, offset: u64, len: u32, reply: Reply) {
        let Ok(place) = Arc::clone(&self.reads).try_acquire_owned() else { return };
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let found = this.find(wanted);
            drop(place);
            match found {
                // Nobody may wait any more.
                Ok(Some(bytes)) => drop(reply.send(Ok(piece(&bytes, offset, len)))),
                Ok(None) => drop(reply.send(Err(NotHere))),
                Err(error) => tracing::error!(%error, "what a node asks for cannot be read"),
            }
        });
    }

    fn find(&self, wanted: Wanted) -> Result<Option<Arc<Vec<u8>>>, ServeError> {
        match wanted {
            Wanted::Function(function) => self.wasm(function),
            Wanted::Document(digest) => {
                let registered = self.held().registered(&digest);
                let Some(function) = registered else {
                    return self.kept(ReceiptId::from_digest(digest));
                };
                let shelved = self.parts.shelf.get(function)?;
                Ok(shelved.map(|shelved| Arc::new(shelved.sealed.encode())))
            }
        }
    }

    /// The papers of a receipt that is kept here, without bodies.
    fn kept(&self, receipt: ReceiptId) -> Result<Option<Arc<Vec<u8>>>, ServeError> {
        let receipts = &self.parts.receipts;
        let Some(kept) = receipts.by_id(receipt)? else { return Ok(None) };
        Ok(Some(Arc::new(papers::bundle(receipts, &kept, false)?)))
    }

    /// The function is here no more.
    pub(super) fn forget_served(&self, function: FunctionId) {
        let mut last = self.last_served.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|(id, _)| *id == function);
    }

    /// A function's bytes. Its pieces are asked for one after the other, so the last one served is kept at hand.
    fn wasm(&self, function: FunctionId) -> Result<Option<Arc<Vec<u8>>>, ServeError> {
        {
            let last = self.last_served.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, bytes)) = last.as_ref().filter(|(id, _)| *id == function) {
                return Ok(Some(Arc::clone(bytes)));
            }
        }
        let Some(bytes) = self.parts.shelf.wasm(function)? else { return Ok(None) };
        let bytes = Arc::new(bytes);
        let mut last = self.last_served.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((function, Arc::clone(&bytes)));
        Ok(Some(bytes))
    }
}

/// The bytes from `offset` on, at most `len` and at most a piece.
fn piece(bytes: &[u8], offset: u64, len: u32) -> Piece {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let to = from.saturating_add(len.min(PIECE_LEN_MAX) as usize).min(bytes.len());
    Piece { total: bytes.len() as u64, bytes: bytes[from..to].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_stays_within_the_whole_and_its_bound() {
        let bytes: Vec<u8> = (0..=255).cycle().take(PIECE_LEN_MAX as usize + 10).collect();
        for (offset, len, expected) in [
            (0, 4, 0..4),
            (3, 0, 3..3),
            (0, u32::MAX, 0..PIECE_LEN_MAX as usize),
            (u64::from(PIECE_LEN_MAX), u32::MAX, PIECE_LEN_MAX as usize..bytes.len()),
            (u64::MAX, 9, bytes.len()..bytes.len()),
        ] {
            let piece = piece(&bytes, offset, len);
            assert_eq!((piece.total, piece.bytes), (bytes.len() as u64, bytes[expected].to_vec()));
        }
    }
}
