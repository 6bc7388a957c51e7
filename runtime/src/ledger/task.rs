//! The ledger's thread: takes what waits, lets the chain decide, writes, and only then answers.
//!
//! One turn handles everything that waits here and a bounded part of what peers have said: its records are one commit
//! of the log, one sync, and one transaction of the database; then the new view is shown, callers are answered and
//! peers are spoken to. Without peers, with nothing pending and a head that is final, the thread sleeps until
//! somebody comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use talea_ledger::chain::message::Message;
use talea_ledger::chain::{Action, Chain, Event as ChainEvent, Record, Submission};
use talea_ledger::pool::Bounds;
use talea_ledger::{
    BlockId, Height, Network, PublicKey, Sealed, TransactionId, VerifiedTransaction,
};
use tokio::sync::{mpsc, watch};

use super::company::{About, Company, is_offence};
use super::librarian::Librarian;
use super::line::{BLOCK_NEWS_LEN_MAX, Judge, Line, News, Verdict};
use super::mailbox::{Answer, Event, Mailbox, QUEUE_MAX, Refusal, SubmitError};
use super::open::LedgerError;
use super::reader::{Archive, Reader, Recent, Shared, Told};
use super::record;
use super::replica::Replica;
use super::view::View;
use super::wire::{Bell, Said};
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::ledger::LedgerLog;

/// Events of one turn: as many as the queue holds.
const TURN_MAX: usize = QUEUE_MAX;
/// What peers have said and one turn takes: a range of blocks with its votes.
const TURN_SAID_MAX: usize = 128;
/// Nanoseconds after which a turn takes nothing more of it: a transaction that is handed in here waits that long at most, and
/// some hundred small blocks still share a sync.
const TURN_SAID_TIME_MAX: u64 = 20_000_000;

/// News of blocks that wait for a verdict: what arrives within some slots.
const JUDGES_MAX: usize = 64;

/// What the thread is made of.
pub(super) struct Parts {
    pub(super) log: LedgerLog,
    pub(super) replica: Replica,
    pub(super) archive: Archive,
    pub(super) network: Arc<Network>,
    pub(super) notary: Notary,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) line: Arc<dyn Line>,
    /// What peers have said.
    pub(super) said: mpsc::Receiver<Said>,
}

pub(super) struct Task {
    events: Receiver<Event>,
    said: mpsc::Receiver<Said>,
    bell: Arc<AtomicBool>,
    line: Arc<dyn Line>,
    company: Company,
    librarian: Librarian,
    /// News of blocks that wait for their parent or body.
    judges: HashMap<BlockId, Judge>,
    chain: Chain,
    log: LedgerLog,
    replica: Replica,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    tick: Duration,
    /// Who waits for which submission.
    waiting: HashMap<Submission, Answer>,
    next: u64,
    changes: watch::Sender<u64>,
    /// Dropped with the thread, which is how callers learn of its end.
    _alive: watch::Sender<()>,
}

/// What one turn makes the node do.
#[derive(Debug, Default)]
struct Turn {
    actions: Vec<Action>,
    verdicts: Vec<(Judge, Verdict)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

/// Runs until it is told to close or nobody can reach it any more.
pub(super) fn run(mut task: Task) -> Result<(), LedgerError> {
    let ended = task.serve();
    if let Err(error) = &ended {
        tracing::error!(%error, "the ledger takes no more transactions");
        task.refuse_all(&error.to_string().into());
    }
    ended
}

// === impl Task ===

impl Task {
    /// The chain where the records end, and the doors to it. What a restart itself makes the chain do is done.
    pub(super) fn begin(parts: Parts) -> Result<(Self, Mailbox, Reader, Bell), LedgerError> {
        let Parts { log, replica, archive, network, notary, clock, line, said } = parts;
        let recovered = replica.recovered()?;
        let signer = Box::new(notary);
        let (chain, actions) = Chain::open(network, signer, Bounds::NODE, recovered, clock.now())?;
        let view = RwLock::new(Arc::new(view_of(&chain)));
        let recent = RwLock::new(line_of(&chain));
        let shared = Arc::new(Shared {
            told: RwLock::default(),
            in_step: AtomicBool::new(false),
            view,
            recent,
            rejected: AtomicU64::new(0),
        });
        let (events, queue) = sync_channel(QUEUE_MAX);
        let (alive, ended) = watch::channel(());
        let (changes, changed) = watch::channel(0);
        let tick = Duration::from_nanos(chain.tick_len().0);
        let reader = Reader { archive, shared: Arc::clone(&shared), changes: changed };
        let bell = Bell { events: events.clone(), has_rung: Arc::default() };
        let mut task = Self {
            events: queue,
            said,
            bell: Arc::clone(&bell.has_rung),
            company: Company::default(),
            judges: HashMap::new(),
            librarian: Librarian::start(reader.clone(), Arc::clone(&line))?,
            line,
            chain,
            log,
            replica,
            shared,
            clock,
            tick,
            waiting: HashMap::new(),
            next: 0,
            changes,
            _alive: alive,
        };
        task.carry_out(actions)?;
        Ok((task, Mailbox { events, alive: ended }, reader, bell))
    }

    fn serve(&mut self) -> Result<(), LedgerError> {
        loop {
            let first = if !self.said.is_empty() {
                self.events.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else if self.is_idle() {
                self.events.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.events.recv_timeout(self.tick)
            };
            let mut turn = Turn::default();
            match first {
                Ok(event) => {
                    let more: Vec<Event> = self.events.try_iter().take(TURN_MAX).collect();
                    let all = std::iter::once(event).chain(more);
                    if self.take_events(all, &mut turn) == Flow::End {
                        // What came before is written; what comes after is not taken.
                        return self.carry_out(turn.actions);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    turn.actions = self.chain.handle(self.clock.now(), ChainEvent::Tick);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.take_said(&mut turn);
            self.carry_out(turn.actions)?;
            turn.verdicts.into_iter().for_each(|(judge, verdict)| judge.say(verdict));
        }
    }

    fn take_events(&mut self, events: impl Iterator<Item = Event>, turn: &mut Turn) -> Flow {
        for event in events {
            match event {
                Event::Submit(envelope, answer) => {
                    let submission = Submission(self.next);
                    self.next += 1;
                    self.waiting.insert(submission, answer);
                    let event = ChainEvent::Submit { submission, envelope };
                    turn.actions.extend(self.chain.handle(self.clock.now(), event));
                }
                Event::Bell => {}
                Event::Close => return Flow::End,
            }
        }
        Flow::GoOn
    }

    /// Takes what peers have said, as much as one turn has time for.
    fn take_said(&mut self, turn: &mut Turn) {
        // Before the look: what comes after it rings again.
        self.bell.store(false, Ordering::SeqCst);
        let until = self.clock.now().0.saturating_add(TURN_SAID_TIME_MAX);
        for _ in 0..TURN_SAID_MAX {
            let Ok(said) = self.said.try_recv() else { return };
            self.hear(said, turn);
            if self.clock.now().0 >= until {
                return;
            }
        }
    }

    fn hear(&mut self, said: Said, turn: &mut Turn) {
        let (event, about, judge) = match said {
            Said::Joined(key) => {
                let Some(peer) = self.company.join(key) else { return };
                (ChainEvent::Joined(peer), About::Other, None)
            }
            Said::Left(key) => {
                let Some(peer) = self.company.leave(&key) else { return };
                self.told(key, None);
                (ChainEvent::Left(peer), About::Other, None)
            }
            // Of one who has left nothing is heard any more; a judge that is dropped ignores it.
            Said::Message { from, message, judge, room: _room } => {
                let Some(peer) = self.company.number(&from) else { return };
                if let Message::Status(status) = &*message {
                    let (height, slot, finalised) = (status.height, status.slot, status.finalised);
                    self.told(from, Some(Told { height, slot, finalised }));
                }
                let about = About::of(&message);
                (ChainEvent::Message { from: peer, message: *message }, about, judge)
            }
            Said::Transaction { from, transaction, judge, room: _room } => {
                let Some(peer) = self.company.number(&from) else { return };
                let about = About::Transaction(transaction.id());
                let is_news = judge.is_some();
                (ChainEvent::Transaction { from: peer, transaction, is_news }, about, judge)
            }
        };
        let actions = self.chain.handle(self.clock.now(), event);
        if let Some(judge) = judge {
            match (about.verdict(&self.chain, &actions), about) {
                (Some(verdict), _) => turn.verdicts.push((judge, verdict)),
                (None, About::Block(id)) => self.await_block(id, judge),
                // A judge that is dropped ignores it.
                (None, _) => {}
            }
        }
        for action in &actions {
            if let Action::Persist(Record::Block(block)) = action
                && let Some(judge) = self.judges.remove(&block.id())
            {
                turn.verdicts.push((judge, Verdict::Accept));
            }
        }
        turn.actions.extend(actions);
    }

    fn await_block(&mut self, id: BlockId, judge: Judge) {
        if self.judges.len() >= JUDGES_MAX {
            // What has waited so long nobody needs to hear from here.
            self.judges.clear();
        }
        self.judges.insert(id, judge);
    }

    fn told(&self, key: PublicKey, told: Option<Told>) {
        let mut all = self.shared.told.write().unwrap_or_else(PoisonError::into_inner);
        match told {
            Some(told) => drop(all.insert(key, told)),
            None => drop(all.remove(&key)),
        }
    }

    /// Whether time alone changes nothing.
    fn is_idle(&self) -> bool {
        self.company.is_empty() && self.chain.pool().is_empty() && self.chain.lag() == 0
    }

    /// Writes first, then shows, then answers.
    fn carry_out(&mut self, actions: Vec<Action>) -> Result<(), LedgerError> {
        if actions.is_empty() {
            return Ok(());
        }
        let records: Vec<&Record> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Persist(record) => Some(record),
                _ => None,
            })
            .collect();
        self.persist(&records)?;
        self.count_refusals(&actions);
        self.show(&actions);
        for action in actions {
            match action {
                Action::Answer { submission, outcome } => {
                    let Some(answer) = self.waiting.remove(&submission) else { continue };
                    let refused =
                        |reason: talea_ledger::pool::Reason| Refusal::new(reason.as_str());
                    // A caller that has gone finds its transaction by its name.
                    let _ = answer.send(outcome.map_err(|why| SubmitError::Refused(refused(why))));
                }
                Action::Split(commit) => tracing::error!(
                    block = %commit.block,
                    height = %commit.height,
                    "a commit contradicts what is final: a third of the authorities have cheated"
                ),
                Action::Send { to, message } => {
                    if let Some(member) = self.company.member(to) {
                        self.line.send(&member.key, message.encode());
                    }
                }
                Action::Broadcast(message) => self.broadcast(message),
                Action::Serve { to, request } => {
                    if let Some(member) = self.company.member(to) {
                        self.librarian.ask(member, request);
                    }
                }
                Action::Refused { from, code } => {
                    if let Some(member) = self.company.member(from).filter(|_| is_offence(code)) {
                        self.line.blame(&member.key, code);
                    }
                }
                Action::HeadMoved { .. } | Action::Finalised(_) | Action::Persist(_) => {}
            }
        }
        Ok(())
    }

    fn broadcast(&self, message: Message) {
        if self.company.is_empty() {
            return;
        }
        match message {
            Message::Transaction(_) => self.line.publish(News::Transaction, message.encode()),
            Message::Vote(_) => self.line.publish(News::Vote, message.encode()),
            Message::Commit(_) => self.line.publish(News::Block, message.encode()),
            Message::Announce(header) => self.publish_block(header),
            message => {
                let bytes = message.encode();
                self.company.keys().for_each(|key| self.line.send(key, bytes.clone()));
            }
        }
    }

    /// A short block is published whole: who hears of it has it, and can check all of it before it passes it on.
    fn publish_block(&self, header: Sealed) {
        let block = self.chain.block(&BlockId::of(header.payload()));
        let whole = block.map(|block| Message::Block(block.to_block()).encode());
        let news = whole.filter(|bytes| bytes.len() <= BLOCK_NEWS_LEN_MAX);
        let news = news.unwrap_or_else(|| Message::Announce(header).encode());
        self.line.publish(News::Block, news);
    }

    fn count_refusals(&self, actions: &[Action]) {
        let is_refusal = |action: &&Action| {
            matches!(
                action,
                Action::Persist(Record::Rejected(_)) | Action::Answer { outcome: Err(_), .. }
            )
        };
        let count = actions.iter().filter(is_refusal).count();
        self.shared.rejected.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn persist(&mut self, records: &[&Record]) -> Result<(), LedgerError> {
        if records.is_empty() {
            return Ok(());
        }
        let encoded: Vec<_> = records.iter().map(|record| record::encode(record)).collect();
        let commit = self.log.append(&encoded)?;
        let placed = records.iter().copied().zip(commit.records.iter().map(|each| each.place));
        self.replica.write(placed, &commit)
    }

    /// Shows what is on the disk now, if it is other than before.
    fn show(&self, actions: &[Action]) {
        let is_news = |action: &Action| {
            matches!(action, Action::Persist(_) | Action::HeadMoved { .. } | Action::Finalised(_))
        };
        if !actions.iter().any(is_news) {
            return;
        }
        {
            let mut recent = self.shared.recent.write().unwrap_or_else(PoisonError::into_inner);
            for action in actions {
                match action {
                    Action::HeadMoved { undone, applied } => {
                        undone.iter().for_each(|id| recent.undo(id));
                        applied.iter().for_each(|id| recent.apply(&self.chain, id));
                    }
                    Action::Finalised(target) => recent.finalise(target.height),
                    Action::Persist(Record::Transaction(transaction)) => recent.wait(transaction),
                    Action::Persist(Record::Rejected(rejected)) => recent.forget(&rejected.id),
                    _ => {}
                }
            }
        }
        let view = Arc::new(view_of(&self.chain));
        *self.shared.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Everybody who waits or comes hears why nothing is taken, until the node closes.
    fn refuse_all(&mut self, why: &Arc<str>) {
        for (_, answer) in self.waiting.drain() {
            let _ = answer.send(Err(SubmitError::Latched(Arc::clone(why))));
        }
        // Peers are not heard any more.
        self.said.close();
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Submit(_, answer) => {
                    let _ = answer.send(Err(SubmitError::Latched(Arc::clone(why))));
                }
                Event::Bell => {}
                Event::Close => return,
            }
        }
    }
}

fn view_of(chain: &Chain) -> View {
    View {
        network: Arc::clone(chain.network()),
        head: chain.head_state().clone(),
        finalised: chain.finalised_state().clone(),
        pending: chain.pool().len(),
    }
}

/// The head's line above the finalised block, after a start.
fn line_of(chain: &Chain) -> Recent {
    let mut recent = Recent::default();
    let (from, to) = (chain.finalised().height.0, chain.head().height.0);
    for height in from.saturating_add(1)..=to {
        if let Some(id) = chain.block_at(Height(height)) {
            recent.apply(chain, &id);
        }
    }
    for id in chain.pool().ids_after(None) {
        if let Some(transaction) = chain.pool().get(&id) {
            recent.wait(transaction);
        }
    }
    recent
}

// === impl Recent ===

impl Recent {
    fn apply(&mut self, chain: &Chain, id: &BlockId) {
        let Some(block) = chain.block(id) else { return };
        let height = block.header().height;
        self.line.insert(height, *id);
        for (index, transaction) in (0..).zip(block.transactions()) {
            self.included.insert(transaction.id(), (*id, height, index));
            self.forget(&transaction.id());
        }
    }

    /// A transaction is pending.
    fn wait(&mut self, transaction: &VerifiedTransaction) {
        let (id, sender, nonce) = (transaction.id(), transaction.sender(), transaction.nonce());
        self.waiting.insert(id, (sender, nonce));
        self.nonces.insert((sender, nonce, id));
    }

    /// A transaction is pending no more.
    fn forget(&mut self, id: &TransactionId) {
        if let Some((sender, nonce)) = self.waiting.remove(id) {
            self.nonces.remove(&(sender, nonce, *id));
        }
    }

    fn undo(&mut self, id: &BlockId) {
        self.line.retain(|_, on_line| on_line != id);
        self.included.retain(|_, (block, _, _)| block != id);
    }

    fn finalise(&mut self, height: Height) {
        self.line.retain(|at, _| *at > height);
        self.included.retain(|_, (_, at, _)| *at > height);
    }
}
