//! Answers peers from the disk: headers, blocks and commits that the chain holds in memory no more.
//!
//! A thread of its own, so that nobody's questions keep the ledger waiting. What is answered was read from the disk, so
//! it is durable.
//!
//! Invariants: the questions that wait are bounded, in all and for each peer; one beyond that is dropped, and its peer
//! asks again. An answer has at most [`HEADERS_MAX`] headers or [`BLOCKS_MAX`](talea_ledger::chain::message::BLOCKS_MAX)
//! blocks, and reads at most [`READ_LEN_MAX`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use talea_ledger::chain::message::{HEADERS_MAX, Locator, Message, Request};
use talea_ledger::codec::List;
use talea_ledger::{BlockId, Document, Height, PublicKey};

use super::company::Member;
use super::line::Line;
use super::reader::{LedgerReadError, Reader};

/// Questions that wait: a hundred peers that sync at once.
const QUESTIONS_MAX: usize = 256;
/// Of one peer: who syncs asks for the next headers while bodies are on their way.
const PEER_QUESTIONS_MAX: usize = 8;
/// Bytes that one answer reads: headers lie in one piece with their bodies, and 256 full blocks are 256 MiB.
const READ_LEN_MAX: usize = 32 << 20;

/// One question, and its place among those of its peer.
struct Question {
    from: PublicKey,
    request: Request,
    _place: Place,
}

struct Place(Arc<AtomicUsize>);

/// A handle to the thread; dropping it ends the thread once it has answered what it holds.
pub(super) struct Librarian {
    questions: Option<SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Librarian ===

impl Librarian {
    pub(super) fn start(reader: Reader, line: Arc<dyn Line>) -> io::Result<Self> {
        let (questions, waiting) = sync_channel(QUESTIONS_MAX);
        let thread = std::thread::Builder::new().name("talea-archive".into());
        let thread = thread.spawn(move || serve(&reader, line.as_ref(), &waiting))?;
        Ok(Self { questions: Some(questions), thread: Some(thread) })
    }

    /// Takes a question, if there is room for it.
    pub(super) fn ask(&self, member: &Member, request: Request) {
        // Relaxed: a count, which nothing else hangs on.
        if member.asked.fetch_add(1, Ordering::Relaxed) >= PEER_QUESTIONS_MAX {
            member.asked.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let place = Place(Arc::clone(&member.asked));
        let question = Question { from: member.key, request, _place: place };
        if let Some(questions) = &self.questions {
            // A full queue drops it: its peer asks again.
            let _ = questions.try_send(question);
        }
    }
}

impl Drop for Librarian {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Librarian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Librarian")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(reader: &Reader, line: &dyn Line, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        if let Err(fault) = answer(reader, line, &question) {
            tracing::error!(%fault, peer = %question.from, "a peer's question could not be answered from the disk");
        }
    }
}

fn answer(reader: &Reader, line: &dyn Line, question: &Question) -> Result<(), LedgerReadError> {
    let say = |message: Message| line.send(&question.from, message.encode());
    match &question.request {
        Request::Headers(locator) => {
            if let Some(headers) = headers(reader, locator)? {
                say(headers);
            }
        }
        Request::Blocks(ids) => {
            for id in ids {
                if let Some(stored) = reader.block(id)? {
                    say(Message::Block(stored.block));
                }
            }
        }
        Request::Commit(range) => {
            let found = reader.commit_between(range.above, range.upto)?;
            if let Some(commit) = found.and_then(|bytes| Document::decode(&bytes).ok()) {
                say(Message::Commit(commit));
            }
        }
    }
    Ok(())
}

/// The headers that follow on the highest block of the line that is known: up to the target if that is on the line,
/// else along it.
fn headers(reader: &Reader, locator: &Locator) -> Result<Option<Message>, LedgerReadError> {
    let mut highest = None;
    for id in locator.known.iter() {
        highest = highest.max(height_on_line(reader, id)?);
    }
    // Not even the beginning of the network is known: nothing here follows on that.
    let Some(after) = highest else { return Ok(None) };
    let last = height_on_line(reader, &locator.target)?.unwrap_or(Height(u64::MAX));
    let mut headers = Vec::new();
    let mut at = after;
    let mut len = 0;
    while headers.len() < HEADERS_MAX && len < READ_LEN_MAX && at < last {
        // Few at a time, since a block may be long.
        let page = reader.blocks(at, (HEADERS_MAX - headers.len()).min(16))?;
        let Some(end) = page.last() else { break };
        at = end.header.height;
        len += page.iter().map(|stored| stored.place.len as usize).sum::<usize>();
        headers.extend(
            page.into_iter().filter(|each| each.header.height <= last).map(|each| each.block.head),
        );
    }
    if headers.is_empty() {
        return Ok(None);
    }
    Ok(List::try_from(headers).ok().map(Message::Headers))
}

/// The height of a block, if it is on the head's line.
fn height_on_line(reader: &Reader, id: &BlockId) -> Result<Option<Height>, LedgerReadError> {
    if *id == reader.view().network.genesis() {
        return Ok(Some(Height::ZERO));
    }
    reader.height_on_line(id)
}
