//! The runs this wallet has signed, by channel: never a sequence twice, never a promise forgotten.
//!
//! Format, below `<home>/runs/<channel id>/`:
//! - `lock`: held while a sequence is taken, so that two commands at once take two.
//! - `last`: the highest sequence ever taken, in decimal.
//! - `tally`: a JSON document with what was billed, see [`super::tally`].
//! - `<sequence, 20 digits>.order`: a JSON document with all that is needed to send the call again.
//! - `<sequence, 20 digits>.body`: the request's body.
//! - `receipts/`: what proves the answers, see [`super::witness`].
//!
//! Invariants: `last` and the order are synced *before* the run is sent, so a crash at any point leaves at worst a
//! sequence that was never used (gaps cost nothing), never one that is signed twice. A body is written before the
//! order that names it. Orders that were answered are kept up to [`ANSWERED_KEPT`], unanswered ones for ever: each
//! is money that a host may still ask for. Absent: the host's view of the channel; the node is asked for that.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use talea_ledger::{ChannelId, Sequence};

use super::{Home, make_private_folder, replace_private};
use talea_runtime::purse::Tally;

/// Answered orders kept per channel, so that the last few answers can be asked for again.
const ANSWERED_KEPT: usize = 16;

/// The runs of one channel.
#[derive(Debug)]
pub(in crate::cli) struct RunBook {
    folder: PathBuf,
}

/// A signed run and the request it travels in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Order {
    /// The request's method.
    pub(in crate::cli) method: String,
    /// Path and query on the node.
    pub(in crate::cli) target: String,
    /// All headers, among them `talea-run`.
    pub(in crate::cli) headers: Vec<(String, String)>,
    /// The function's id, for the eye.
    pub(in crate::cli) function: String,
    /// The receipt that answered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) receipt: Option<String>,
}

/// Why the book cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum RunBookError {
    /// A file of it cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    /// The counter is not a number. Starting anew could sign a sequence twice, so we do not.
    #[error("{} does not hold a sequence number", .0.display())]
    Counter(PathBuf),
    /// Every sequence has been used.
    #[error("the channel has no sequence left")]
    Spent,
    /// An order is not readable.
    #[error("{} is not an order", path.display())]
    Order { path: PathBuf, source: serde_json::Error },
}

// === impl RunBook ===

impl RunBook {
    /// The book of `channel`; makes its folder.
    pub(in crate::cli) fn open(home: &Home, channel: ChannelId) -> Result<Self, RunBookError> {
        let folder = home.path().join("runs").join(channel.to_string());
        make_private_folder(&folder).map_err(file("make", &folder))?;
        Ok(Self { folder })
    }

    /// Where it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the next sequence. It is durably taken when this returns.
    pub(in crate::cli) fn take(&self) -> Result<Sequence, RunBookError> {
        let lock = self.folder.join("lock");
        let held = File::create(&lock).map_err(file("open", &lock))?;
        held.lock().map_err(file("lock", &lock))?;
        let next = self.last()?.checked_add(1).ok_or(RunBookError::Spent)?;
        self.replace("last", next.to_string().as_bytes())?;
        Ok(Sequence(next))
        // The lock goes with `held`.
    }

    /// What was billed on the channel so far.
    pub(in crate::cli) fn tally(&self) -> Result<Tally, RunBookError> {
        let path = self.folder.join("tally");
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| RunBookError::Order { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tally::default()),
            Err(error) => Err(file("read", &path)(error)),
        }
    }

    /// Changes what was billed; durable when it returns, and one change at a time.
    pub(in crate::cli) fn change_tally<E>(
        &self,
        change: impl FnOnce(&mut Tally) -> Result<(), E>,
    ) -> Result<Result<Tally, E>, RunBookError> {
        let lock = self.folder.join("lock");
        let held = File::create(&lock).map_err(file("open", &lock))?;
        held.lock().map_err(file("lock", &lock))?;
        let mut tally = self.tally()?;
        let before = tally.clone();
        if let Err(refused) = change(&mut tally) {
            return Ok(Err(refused));
        }
        if tally != before {
            let path = self.folder.join("tally");
            let text = serde_json::to_vec(&tally)
                .map_err(|source| RunBookError::Order { path, source })?;
            self.replace("tally", &text)?;
        }
        Ok(Ok(tally))
    }

    /// Keeps an order durably, before it is sent.
    pub(in crate::cli) fn keep(
        &self,
        sequence: Sequence,
        order: &Order,
        body: &[u8],
    ) -> Result<(), RunBookError> {
        self.replace(&body_name(sequence), body)?;
        self.write_order(sequence, order)
    }

    /// Notes that an order was answered, and lets the oldest answered ones go.
    pub(in crate::cli) fn answered(
        &self,
        sequence: Sequence,
        receipt: &str,
    ) -> Result<(), RunBookError> {
        let (mut order, _) = self.get(sequence)?;
        order.receipt = Some(receipt.to_owned());
        self.write_order(sequence, &order)?;
        let mut kept = 0_usize;
        for sequence in self.sequences()?.into_iter().rev() {
            if self.listed(sequence)?.is_none_or(|order| order.receipt.is_none()) {
                continue;
            }
            kept = kept.saturating_add(1);
            if kept > ANSWERED_KEPT {
                // The order goes first: a body without an order is only a little space.
                for name in [order_name(sequence), body_name(sequence)] {
                    let path = self.folder.join(name);
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(file("remove", &path)(error));
                        }
                        // Another call of this wallet may have been quicker.
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// The order to send again: the newest without an answer, else the newest.
    pub(in crate::cli) fn to_retry(&self) -> Result<Option<Sequence>, RunBookError> {
        let sequences = self.sequences()?;
        for sequence in sequences.iter().rev() {
            if self.listed(*sequence)?.is_some_and(|order| order.receipt.is_none()) {
                return Ok(Some(*sequence));
            }
        }
        Ok(sequences.last().copied())
    }

    /// An order and its body.
    pub(in crate::cli) fn get(&self, sequence: Sequence) -> Result<(Order, Bytes), RunBookError> {
        let path = self.folder.join(body_name(sequence));
        let body = fs::read(&path).map_err(file("read", &path))?;
        Ok((self.order(sequence)?, body.into()))
    }

    fn order(&self, sequence: Sequence) -> Result<Order, RunBookError> {
        let path = self.folder.join(order_name(sequence));
        let text = fs::read(&path).map_err(file("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| RunBookError::Order { path, source })
    }

    /// An order that was listed, if another call of this wallet has not let it go since.
    fn listed(&self, sequence: Sequence) -> Result<Option<Order>, RunBookError> {
        match self.order(sequence) {
            Err(RunBookError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            order => order.map(Some),
        }
    }

    fn write_order(&self, sequence: Sequence, order: &Order) -> Result<(), RunBookError> {
        let path = self.folder.join(order_name(sequence));
        let text = serde_json::to_vec_pretty(order)
            .map_err(|source| RunBookError::Order { path, source })?;
        self.replace(&order_name(sequence), &text)
    }

    /// All sequences with an order, lowest first.
    fn sequences(&self) -> Result<Vec<Sequence>, RunBookError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(file("list", &self.folder))? {
            let name = entry.map_err(file("list", &self.folder))?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".order"));
            found.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
        found.sort_unstable();
        Ok(found.into_iter().map(Sequence).collect())
    }

    fn last(&self) -> Result<u64, RunBookError> {
        let path = self.folder.join("last");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| RunBookError::Counter(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A lost counter must not go back: the orders know what was used.
                Ok(self.sequences()?.last().map_or(0, |sequence| sequence.0))
            }
            Err(error) => Err(file("read", &path)(error)),
        }
    }

    /// Replaces a file whole: the old bytes or the new, never a mixture, and durable.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), RunBookError> {
        let path = self.folder.join(name);
        replace_private(&path, bytes).map_err(file("write", &path))
    }
}

fn order_name(sequence: Sequence) -> String {
    format!("{:020}.order", sequence.0)
}

fn body_name(sequence: Sequence) -> String {
    format!("{:020}.body", sequence.0)
}

pub(super) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunBookError {
    let path = path.to_owned();
    move |source| RunBookError::File { verb, path, source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CHANNEL: ChannelId = ChannelId::new([7; 32]);

    fn book() -> (tempfile::TempDir, RunBook) {
        let folder = tempfile::tempdir().unwrap();
        let book = RunBook::open(&Home::at(folder.path()), CHANNEL).unwrap();
        (folder, book)
    }

    fn order(target: &str) -> Order {
        Order {
            method: "POST".into(),
            target: target.into(),
            headers: vec![("talea-run".into(), "abc".into())],
            function: "bafk".into(),
            receipt: None,
        }
    }

    #[test]
    fn calls_at_once_over_one_book_do_not_trip_over_what_another_let_go() {
        let (folder, book) = book();
        let count = 4 * u64::try_from(ANSWERED_KEPT).unwrap();
        for sequence in 1..=count {
            book.keep(Sequence(sequence), &order("/"), b"").unwrap();
        }
        let answer = |from: u64| {
            let book = RunBook::open(&Home::at(folder.path()), CHANNEL).unwrap();
            move || {
                for sequence in (from..=count).step_by(4) {
                    book.answered(Sequence(sequence), "bafyreib").unwrap();
                    book.to_retry().unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (1..=4).map(|from| scope.spawn(answer(from))).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    }

    #[test]
    fn a_sequence_is_taken_before_it_is_used_and_survives_the_process() {
        let (folder, book) = book();
        assert_eq!(book.take().unwrap(), Sequence(1));
        // As after a crash: a second process opens the same folder.
        let again = RunBook::open(&Home::at(folder.path()), CHANNEL).unwrap();
        assert_eq!(again.take().unwrap(), Sequence(2));
        let other = RunBook::open(&Home::at(folder.path()), ChannelId::new([8; 32])).unwrap();
        assert_eq!(other.take().unwrap(), Sequence(1), "channels count apart");
    }

    #[test]
    fn many_at_once_take_different_sequences() {
        let (folder, _book) = book();
        let taken: BTreeSet<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let book = RunBook::open(&Home::at(folder.path()), CHANNEL).unwrap();
                        (0..8).map(|_| book.take().unwrap().0).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken, (1..=64).collect());
    }

    #[test]
    fn a_lost_counter_does_not_go_back_and_a_damaged_one_stops() {
        let (_folder, book) = book();
        for _ in 0..3 {
            book.take().unwrap();
        }
        book.keep(Sequence(3), &order("/f/x/"), b"").unwrap();
        fs::remove_file(book.folder.join("last")).unwrap();
        assert_eq!(book.take().unwrap(), Sequence(4));
        fs::write(book.folder.join("last"), "four").unwrap();
        assert!(matches!(book.take(), Err(RunBookError::Counter(_))));
        fs::write(book.folder.join("last"), u64::MAX.to_string()).unwrap();
        assert!(matches!(book.take(), Err(RunBookError::Spent)));
    }

    #[test]
    fn the_newest_unanswered_order_is_the_one_to_retry() {
        let (_folder, book) = book();
        assert_eq!(book.to_retry().unwrap(), None);
        for number in 1..=3 {
            book.keep(Sequence(number), &order(&format!("/f/{number}")), b"body").unwrap();
        }
        book.answered(Sequence(3), "bafyr").unwrap();
        assert_eq!(book.to_retry().unwrap(), Some(Sequence(2)));
        assert_eq!(book.get(Sequence(2)).unwrap(), (order("/f/2"), Bytes::from_static(b"body")));
        book.answered(Sequence(1), "bafyr").unwrap();
        book.answered(Sequence(2), "bafyr").unwrap();
        assert_eq!(
            book.to_retry().unwrap(),
            Some(Sequence(3)),
            "the newest, when all were answered"
        );
    }

    #[test]
    fn answered_orders_are_bounded_and_unanswered_ones_stay() {
        let (_folder, book) = book();
        book.keep(Sequence(1), &order("/lost"), b"").unwrap();
        let last = u64::try_from(ANSWERED_KEPT).unwrap() + 5;
        for number in 2..=last {
            book.keep(Sequence(number), &order("/f"), b"").unwrap();
            book.answered(Sequence(number), "bafyr").unwrap();
        }
        let left = book.sequences().unwrap();
        assert_eq!(left.len(), ANSWERED_KEPT + 1);
        assert_eq!(left.first(), Some(&Sequence(1)));
        assert_eq!(left.last(), Some(&Sequence(last)));
    }
}
