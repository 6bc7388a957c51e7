//! The ledger's thread: takes what waits, lets the chain decide, writes, and only then answers.
//!
//! One turn handles everything that waits: its records are one commit of the log, one sync, and one transaction
//! of the database; then the new view is shown and callers are answered. With nothing pending and a head that is
//! final the thread sleeps until somebody comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use talea_ledger::chain::{Action, Chain, Event as ChainEvent, Record, Submission};
use talea_ledger::pool::Bounds;
use talea_ledger::{BlockId, Height, Network, TransactionId, VerifiedTransaction};
use tokio::sync::watch;

use super::mailbox::{Answer, Event, Mailbox, QUEUE_MAX, Refusal, SubmitError};
use super::open::LedgerError;
use super::reader::{Archive, Reader, Recent, Shared};
use super::record;
use super::replica::Replica;
use super::view::View;
use crate::clock::Clock;
use crate::notary::Notary;
use crate::store::ledger::LedgerLog;

/// Events of one turn: as many as the queue holds.
const TURN_MAX: usize = QUEUE_MAX;

pub(super) struct Task {
    events: Receiver<Event>,
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
    pub(super) fn begin(
        log: LedgerLog,
        replica: Replica,
        archive: Archive,
        network: Arc<Network>,
        notary: Notary,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Mailbox, Reader), LedgerError> {
        let recovered = replica.recovered()?;
        let signer = Box::new(notary);
        let (chain, actions) = Chain::open(network, signer, Bounds::NODE, recovered, clock.now())?;
        let view = RwLock::new(Arc::new(view_of(&chain)));
        let recent = RwLock::new(line_of(&chain));
        let shared = Arc::new(Shared { view, recent, rejected: AtomicU64::new(0) });
        let (events, queue) = sync_channel(QUEUE_MAX);
        let (alive, ended) = watch::channel(());
        let (changes, changed) = watch::channel(0);
        let tick = Duration::from_nanos(chain.tick_len().0);
        let mut task = Self {
            events: queue,
            chain,
            log,
            replica,
            shared: Arc::clone(&shared),
            clock,
            tick,
            waiting: HashMap::new(),
            next: 0,
            changes,
            _alive: alive,
        };
        task.carry_out(actions)?;
        let reader = Reader { archive, shared, changes: changed };
        Ok((task, Mailbox { events, alive: ended }, reader))
    }

    fn serve(&mut self) -> Result<(), LedgerError> {
        loop {
            let first = if self.is_idle() {
                self.events.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.events.recv_timeout(self.tick)
            };
            let mut actions = Vec::new();
            match first {
                Ok(event) => {
                    let more: Vec<Event> = self.events.try_iter().take(TURN_MAX).collect();
                    for event in std::iter::once(event).chain(more) {
                        let Event::Submit(envelope, answer) = event else {
                            // What came before is written; what comes after is not taken.
                            return self.carry_out(actions);
                        };
                        let submission = Submission(self.next);
                        self.next += 1;
                        self.waiting.insert(submission, answer);
                        let event = ChainEvent::Submit { submission, envelope };
                        actions.extend(self.chain.handle(self.clock.now(), event));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    actions = self.chain.handle(self.clock.now(), ChainEvent::Tick);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.carry_out(actions)?;
        }
    }

    /// Whether time alone changes nothing.
    fn is_idle(&self) -> bool {
        self.chain.pool().is_empty() && self.chain.lag() == 0
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
                // A node without peers: nobody to send to, and nobody who sent.
                Action::Send { .. }
                | Action::Broadcast(_)
                | Action::Serve { .. }
                | Action::Refused { .. }
                | Action::HeadMoved { .. }
                | Action::Finalised(_)
                | Action::Persist(_) => {}
            }
        }
        Ok(())
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
        while let Ok(Event::Submit(_, answer)) = self.events.recv() {
            let _ = answer.send(Err(SubmitError::Latched(Arc::clone(why))));
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
