//! Receipts kept as witnesses: what proves that a host gave two that cannot both be honest.
//!
//! Format, below `<home>/runs/<channel id>/receipts/`: `<sequence, 20 digits>.talea`, a bundle of run, receipt and
//! proof without bodies; one that contradicts a kept one lies beside it as `<sequence>.<its CID>.talea`.
//! Invariants: a receipt is on the disk before it is counted; of the kept ones, [`RECEIPTS_KEPT`] with the highest
//! sequences stay, and every contradiction does. Absent: what the host's owner owes for it, which the ledger says.

use std::fs;
use std::io;
use std::path::PathBuf;

use talea_ledger::{Bundle, Document as _, Fraud, Receipt, ReceiptId, Sequence, fraud};

use super::runs::{RunBook, RunBookError, file};
use super::{make_private_folder, replace_private};

/// Receipts kept of one channel: as many as a host can have under way at once, of about 2 KiB each.
const RECEIPTS_KEPT: usize = 1024;
/// After so many receipts the oldest are looked for.
const TIDY_EVERY: u64 = 64;

/// Two receipts that cannot both be honest, and the files that prove it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Contradiction {
    pub(in crate::cli) fraud: Fraud,
    pub(in crate::cli) files: [PathBuf; 2],
}

/// A kept receipt.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Witness {
    pub(in crate::cli) receipt: Receipt,
    path: PathBuf,
}

impl RunBook {
    /// Keeps a verified receipt with what proves it. Gives what it contradicts, if a kept one has its sequence.
    pub(in crate::cli) fn witness(
        &self,
        bundle: &Bundle,
    ) -> Result<Option<Contradiction>, RunBookError> {
        let Ok(receipt) = Receipt::decode(&bundle.receipt) else { return Ok(None) };
        let Some(payment) = &receipt.payment else { return Ok(None) };
        let folder = self.receipts();
        make_private_folder(&folder).map_err(file("make", &folder))?;
        let path = folder.join(format!("{:020}.talea", payment.sequence.0));
        let Some(kept) = read(path.clone())? else {
            replace_private(&path, &light(bundle)).map_err(file("write", &path))?;
            if payment.sequence.0.is_multiple_of(TIDY_EVERY) {
                self.tidy()?;
            }
            return Ok(None);
        };
        if kept.receipt == receipt {
            return Ok(None);
        }
        self.contradiction(&kept, &receipt, bundle)
    }

    /// The kept receipt that a verified one contradicts, whatever their sequences. Reads all that are kept.
    pub(in crate::cli) fn contradicted(
        &self,
        bundle: &Bundle,
    ) -> Result<Option<Contradiction>, RunBookError> {
        let Ok(receipt) = Receipt::decode(&bundle.receipt) else { return Ok(None) };
        for kept in self.witnesses()? {
            if let Some(found) = self.contradiction(&kept, &receipt, bundle)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All receipts that are kept, by sequence.
    pub(in crate::cli) fn witnesses(&self) -> Result<Vec<Witness>, RunBookError> {
        let mut found = Vec::new();
        for path in self.paths()? {
            found.extend(read(path)?);
        }
        Ok(found)
    }

    fn contradiction(
        &self,
        kept: &Witness,
        receipt: &Receipt,
        bundle: &Bundle,
    ) -> Result<Option<Contradiction>, RunBookError> {
        let Some(fraud) = fraud::check(&kept.receipt, receipt) else { return Ok(None) };
        let sequence = receipt.payment.as_ref().map_or(Sequence::ZERO, |it| it.sequence);
        let name = format!("{:020}.{}.talea", sequence.0, ReceiptId::of(&bundle.receipt));
        let path = self.receipts().join(name);
        replace_private(&path, &light(bundle)).map_err(file("write", &path))?;
        Ok(Some(Contradiction { fraud, files: [kept.path.clone(), path] }))
    }

    /// Lets the receipts with the lowest sequences go. One that another contradicts stays with it.
    fn tidy(&self) -> Result<(), RunBookError> {
        let paths = self.paths()?;
        let stem = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            name.split('.').next().map(str::to_owned)
        };
        let excess = paths.len().saturating_sub(RECEIPTS_KEPT);
        for (at, path) in paths.iter().enumerate().take(excess) {
            let is_beside =
                |other: usize| paths.get(other).is_some_and(|other| stem(other) == stem(path));
            if is_beside(at.wrapping_sub(1)) || is_beside(at.wrapping_add(1)) {
                continue;
            }
            fs::remove_file(path).map_err(file("remove", path))?;
        }
        Ok(())
    }

    /// The files, by their names and so by sequence.
    fn paths(&self) -> Result<Vec<PathBuf>, RunBookError> {
        let folder = self.receipts();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file("list", &folder)(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(file("list", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "talea") {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        Ok(paths)
    }

    fn receipts(&self) -> PathBuf {
        self.folder().join("receipts")
    }
}

/// What proves a receipt, without what it is about.
fn light(bundle: &Bundle) -> Vec<u8> {
    Bundle {
        function: None,
        input: None,
        output: None,
        run: bundle.run.clone(),
        forward: None,
        proof: bundle.proof.clone(),
        input_body: None,
        output_body: None,
        receipt: bundle.receipt.clone(),
    }
    .encode()
}

/// A kept receipt; nothing where there is none. A damaged file proves nothing and is passed over.
fn read(path: PathBuf) -> Result<Option<Witness>, RunBookError> {
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file("read", &path)(error)),
    };
    let receipt = Bundle::decode(&bytes).ok().and_then(|it| Receipt::decode(&it.receipt).ok());
    Ok(receipt.map(|receipt| Witness { receipt, path }))
}
