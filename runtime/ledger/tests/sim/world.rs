//! A network of nodes in one thread, on virtual time, from one seed: links with loss, delay, reordering and
//! duplication, partitions and heals, crashes that lose what was not synced, clocks that are off, clients, and
//! traitors below a third of the authorities.

pub(crate) mod audit;
pub(crate) mod chance;
pub(crate) mod disk;
pub(crate) mod traitor;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use audit::{Audit, Figures};
use chance::Chance;
use disk::Disk;
use talea_ledger::chain::message::Message;
use talea_ledger::chain::{Action, Chain, Event, Peer, Recovered, Submission};
use talea_ledger::params::{Balance, NetworkParams};
use talea_ledger::pool::Bounds;
use talea_ledger::transaction::Transfer;
use talea_ledger::units::Nanos;
use talea_ledger::{Action as Order, Network, PublicKey, SecretKey, Tal, Transaction, UnixNanos};
use traitor::{Traitor, Vice};

/// A slot, and a tick of it.
pub(crate) const SLOT: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const START: u64 = 1_000 * SLOT;

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) authorities: usize,
    /// Nodes that follow and have no vote.
    pub(crate) observers: usize,
    pub(crate) traitors: Vec<(usize, Vice)>,
    /// Slots with faults, and quiet ones after them.
    pub(crate) stormy: u64,
    pub(crate) quiet: u64,
    /// In a thousand messages.
    pub(crate) loss: u64,
    pub(crate) doubled: u64,
    /// The longest a message takes, in milliseconds.
    pub(crate) delay_ms: u64,
    pub(crate) skew_ms: u64,
    /// In a thousand slots, for each.
    pub(crate) crash: u64,
    pub(crate) partition: u64,
    /// In a thousand slots, for each account.
    pub(crate) traffic: u64,
    /// Messages are sent before what stands before them is synced: a broken rule.
    pub(crate) hasty: bool,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        // Signatures are the cost, and they grow with the square of the authorities: most networks are small.
        let authorities = match chance.below(1000) {
            0..120 => 1,
            120..220 => 2,
            220..360 => 3,
            360..880 => 4,
            880..960 => 5,
            960..990 => 7,
            990..996 => 10,
            996..998 => 13,
            _ => 20,
        };
        let observers = if chance.in_thousand(250) { 1 } else { 0 };
        let faulty = chance.below((authorities as u64 - 1) / 3 + 1);
        let traitors =
            (0..faulty as usize).map(|n| (authorities - 1 - n, *chance.pick(&Vice::ALL))).collect();
        let is_large = authorities > 5;
        Self {
            seed,
            authorities,
            observers,
            traitors,
            stormy: chance.between(6, if is_large { 8 } else { 18 }),
            quiet: 12,
            loss: *chance.pick(&[0, 0, 20, 100, 250]),
            doubled: *chance.pick(&[0, 0, 50, 200]),
            delay_ms: *chance.pick(&[5, 60, 200, 900]),
            skew_ms: *chance.pick(&[0, 50, 400]),
            crash: *chance.pick(&[0, 0, 30, 100]),
            partition: *chance.pick(&[0, 0, 100, 250]),
            traffic: *chance.pick(&[50, 200, 400]),
            hasty: false,
        }
    }

    /// A calm network of this many authorities.
    pub(crate) fn calm(seed: u64, authorities: usize) -> Self {
        Self {
            seed,
            authorities,
            observers: 0,
            traitors: Vec::new(),
            stormy: 0,
            quiet: 0,
            loss: 0,
            doubled: 0,
            delay_ms: 5,
            skew_ms: 0,
            crash: 0,
            partition: 0,
            traffic: 0,
            hasty: false,
        }
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) key: Arc<SecretKey>,
    pub(crate) chain: Option<Chain>,
    disk: Disk,
    /// What waits for the disk, with the number of records that must be durable first.
    held: VecDeque<(usize, Action)>,
    skew: i64,
    /// Counts restarts: what was under way to an earlier life is lost.
    life: u32,
    pub(crate) traitor: Option<Traitor>,
}

enum Item {
    Tick(usize),
    Deliver { to: usize, from: usize, life: u32, message: Arc<Message> },
    Synced { node: usize, life: u32, upto: usize },
    Restart(usize),
    Heal,
    Slot(u64),
}

/// What is done to a chain when it opens: nothing, unless a rule is to be broken.
pub(crate) type Tweak = fn(&mut Chain);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) network: Arc<Network>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) audit: Audit,
    pub(crate) now: u64,
    accounts: Vec<SecretKey>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    items: BTreeMap<u64, Item>,
    next_item: u64,
    chance: Chance,
    sides: Vec<u8>,
    is_stormy: bool,
    submissions: u64,
    tweak: Tweak,
}

struct Key(Arc<SecretKey>);

impl talea_ledger::finality::Signer for Key {
    fn public(&self) -> PublicKey {
        self.0.public()
    }

    fn seal(&self, domain: talea_ledger::Domain, payload: Vec<u8>) -> talea_ledger::Sealed {
        talea_ledger::sign::seal(&self.0, domain, payload)
    }
}

fn key(kind: u8, n: usize) -> SecretKey {
    let mut seed = [kind; 32];
    seed[0] = n as u8;
    SecretKey::from_bytes(&seed)
}

/// Accounts of every simulated network.
const ACCOUNTS: usize = 4;

pub(crate) fn network(authorities: usize) -> Arc<Network> {
    let funded: Vec<PublicKey> = (0..ACCOUNTS).map(|n| key(2, n).public()).collect();
    let mut params = NetworkParams::development(&funded, key(1, 0).public());
    let keys: Vec<PublicKey> = (0..authorities).map(|n| key(1, n).public()).collect();
    params.authorities = keys.try_into().expect("few authorities");
    params.slot_len = Nanos(SLOT);
    params.start = UnixNanos(START);
    params.fee = Tal(10);
    let balances: Vec<Balance> =
        funded.iter().map(|key| Balance { key: *key, amount: Tal(2_000) }).collect();
    params.balances = balances.try_into().expect("few accounts");
    Arc::new(Network::new(params).expect("the parameters hold"))
}

impl World {
    pub(crate) fn new(plan: Plan, tweak: Tweak) -> Self {
        let network = network(plan.authorities);
        let mut chance = Chance::new(plan.seed ^ 0xa5a5);
        let count = plan.authorities + plan.observers;
        let skew = plan.skew_ms as i64;
        let nodes = (0..count)
            .map(|n| Node {
                key: Arc::new(key(if n < plan.authorities { 1 } else { 3 }, n)),
                chain: None,
                disk: Disk::default(),
                held: VecDeque::new(),
                skew: (chance.below(2 * plan.skew_ms + 1) as i64 - skew) * MS as i64,
                life: 0,
                traitor: plan
                    .traitors
                    .iter()
                    .find(|(at, _)| *at == n)
                    .map(|(_, vice)| Traitor::new(*vice)),
            })
            .collect();
        let mut world = Self {
            network,
            nodes,
            audit: Audit::default(),
            now: START + SLOT / 2,
            accounts: (0..ACCOUNTS).map(|n| key(2, n)).collect(),
            queue: BinaryHeap::new(),
            items: BTreeMap::new(),
            next_item: 0,
            chance,
            sides: vec![0; count],
            is_stormy: plan.stormy > 0,
            submissions: 0,
            tweak,
            plan,
        };
        for node in 0..count {
            world.open(node).expect("the beginning holds");
            let offset = world.chance.below(SLOT / 8);
            world.after(offset, Item::Tick(node));
        }
        world.after(SLOT / 2, Item::Slot(1));
        world
    }

    /// The whole plan: the storm, the quiet after it, and what must be true then.
    pub(crate) fn run(mut self) -> Result<Figures, String> {
        self.pass(self.plan.stormy)?;
        self.calm_down()?;
        let at_heal = self.best_finalised();
        // Something to make final, so that an idle chain is no excuse: at once, and again when a node that lagged
        // knows the nonces that are used.
        let somebody = self.honest().next().expect("somebody is honest");
        for slots in [self.plan.quiet / 3, self.plan.quiet - self.plan.quiet / 3] {
            for account in 0..ACCOUNTS {
                self.submit(somebody, account)?;
            }
            self.pass(slots)?;
        }
        self.settled(at_heal)?;
        Ok(self.audit.figures)
    }

    /// Lets so many slots pass.
    pub(crate) fn pass(&mut self, slots: u64) -> Result<(), String> {
        let until = self.now + slots * SLOT;
        while let Some(Reverse((time, _))) = self.queue.peek()
            && *time <= until
        {
            let Some(Reverse((time, number))) = self.queue.pop() else { break };
            self.now = time;
            if let Some(item) = self.items.remove(&number) {
                self.happen(item)?;
            }
        }
        self.now = until;
        Ok(())
    }

    /// Ends all faults but the traitors'.
    pub(crate) fn calm_down(&mut self) -> Result<(), String> {
        self.is_stormy = false;
        self.sides.fill(0);
        self.plan.loss = 0;
        self.plan.doubled = 0;
        self.plan.delay_ms = self.plan.delay_ms.min(60);
        for node in 0..self.nodes.len() {
            if self.nodes[node].chain.is_none() {
                self.restart(node)?;
            }
        }
        Ok(())
    }

    pub(crate) fn split(&mut self, sides: &[u8]) {
        self.sides.copy_from_slice(sides);
    }

    pub(crate) fn chain(&self, node: usize) -> &Chain {
        self.nodes[node].chain.as_ref().expect("the node runs")
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.crash(node);
    }

    pub(crate) fn restart(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].chain.is_some() {
            return Ok(());
        }
        self.open(node)?;
        if self.nodes[node].traitor.is_none() {
            let chain = self.nodes[node].chain.as_ref().expect("it was just opened");
            self.audit.restarted(node, chain)?;
        }
        Ok(())
    }

    /// A transfer of one tal, handed to a node.
    pub(crate) fn submit(&mut self, node: usize, account: usize) -> Result<(), String> {
        let Some(chain) = &self.nodes[node].chain else { return Ok(()) };
        let sender = self.accounts[account].public();
        let in_chain = chain.head_state().account(&sender).nonce;
        let nonce = chain.pool().next_nonce(&sender, in_chain);
        let to = self.accounts[self.chance.below(ACCOUNTS as u64) as usize].public();
        let transaction = Transaction {
            action: Order::Transfer(Transfer { to, amount: Tal(self.chance.between(1, 40)) }),
            network: self.network.id(),
            sender,
            nonce,
            builds_on: None,
        };
        let mut envelope = transaction.seal(&self.accounts[account]).encode();
        if self.is_stormy && self.chance.in_thousand(30) {
            // A forged one: some bit is wrong.
            let at = self.chance.below(envelope.len() as u64) as usize;
            envelope[at] ^= 1;
        }
        self.submissions += 1;
        let submission = Submission(self.submissions);
        self.handle(node, Event::Submit { submission, envelope })
    }

    fn best_finalised(&self) -> u64 {
        let heights = self.honest().map(|node| self.chain(node).finalised().height.0);
        heights.max().unwrap_or(0)
    }

    pub(crate) fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].traitor.is_none())
    }

    /// Liveness: after the quiet all honest nodes agree, finality has moved, nothing accepted is open.
    fn settled(&mut self, at_heal: u64) -> Result<(), String> {
        let first = self.honest().next().expect("somebody is honest");
        let (head, finalised) = (self.chain(first).head(), self.chain(first).finalised());
        for node in self.honest() {
            let chain = self.chain(node);
            self.audit.nothing_vanished(node, chain)?;
            let (own_head, own_final) = (chain.head(), chain.finalised());
            if self.plan.traitors.is_empty() && (own_head, own_final) != (head, finalised) {
                return Err(format!(
                    "no agreement: node {first} {head:?}/{finalised:?}, node {node} {chain:?}"
                ));
            }
            if own_head.height.0 > own_final.height.0 + 6 {
                return Err(format!("finality does not follow at node {node}: {chain:?}"));
            }
            let open = self.audit.unsettled(node, chain);
            if self.plan.traitors.is_empty() && open > 0 {
                return Err(format!("{open} transactions of node {node} are open: {chain:?}"));
            }
        }
        let moved = self.best_finalised() > at_heal;
        if moved {
            return Ok(());
        }
        Err(format!("finality has not moved since the heal: {:?}", self.chain(first)))
    }

    fn happen(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::Tick(node) => {
                self.after(SLOT / 8, Item::Tick(node));
                self.handle(node, Event::Tick)
            }
            Item::Deliver { to, from, life, message } => {
                if self.sides[to] != self.sides[from] || self.nodes[to].life != life {
                    return Ok(());
                }
                self.audit.figures.messages += 1;
                let message = Arc::unwrap_or_clone(message);
                self.handle(to, Event::Message { from: Peer(from as u64), message })
            }
            Item::Synced { node, life, upto } => {
                if self.nodes[node].life != life {
                    return Ok(());
                }
                self.nodes[node].disk.sync(upto);
                self.release(node)
            }
            Item::Restart(node) => self.restart(node),
            Item::Heal => {
                self.sides.fill(0);
                Ok(())
            }
            Item::Slot(slot) => {
                self.after(SLOT, Item::Slot(slot + 1));
                self.start_slot()
            }
        }
    }

    /// What a slot brings: clients, and in a storm crashes and partitions.
    fn start_slot(&mut self) -> Result<(), String> {
        if !self.is_stormy {
            return Ok(());
        }
        for account in 0..ACCOUNTS {
            if self.chance.in_thousand(self.plan.traffic) {
                let node = self.chance.below(self.nodes.len() as u64) as usize;
                self.submit(node, account)?;
                if self.chance.in_thousand(100) {
                    // The same account at another node, which may not know of the first: a double spend.
                    let other = self.chance.below(self.nodes.len() as u64) as usize;
                    self.submit(other, account)?;
                }
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].chain.is_some() && self.chance.in_thousand(self.plan.crash) {
                self.crash(node);
                let down = self.chance.between(50, 4_000) * MS;
                self.after(down, Item::Restart(node));
            }
        }
        if self.sides.iter().all(|side| *side == 0) && self.chance.in_thousand(self.plan.partition)
        {
            for side in &mut self.sides {
                *side = self.chance.below(3) as u8 % 2;
            }
            let lasts = self.chance.between(1, 8) * SLOT;
            self.after(lasts, Item::Heal);
        }
        Ok(())
    }

    fn open(&mut self, node: usize) -> Result<(), String> {
        let me = self.nodes[node].key.public();
        let least = self.chance.in_thousand(800);
        let disk = &self.nodes[node].disk;
        let recovered = match disk.len() {
            0 => Recovered::genesis(&self.network),
            _ => disk.recover(&self.network, &me, least),
        };
        let signer = Box::new(Key(Arc::clone(&self.nodes[node].key)));
        let now = self.clock(node);
        let network = Arc::clone(&self.network);
        let (mut chain, actions) = Chain::open(network, signer, Bounds::NODE, recovered, now)
            .map_err(|error| format!("node {node} does not open: {error}"))?;
        (self.tweak)(&mut chain);
        self.nodes[node].chain = Some(chain);
        self.carry_out(node, actions)?;
        for other in 0..self.nodes.len() {
            if other != node {
                self.handle(node, Event::Joined(Peer(other as u64)))?;
            }
        }
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        let lost = self.nodes[node].disk.len() - self.nodes[node].disk.durable();
        let kept = self.chance.below(lost as u64 + 1) as usize;
        let node = &mut self.nodes[node];
        node.disk.crash(kept);
        node.held.clear();
        node.chain = None;
        node.life += 1;
        self.audit.figures.crashes += 1;
    }

    fn clock(&self, node: usize) -> UnixNanos {
        UnixNanos(self.now.saturating_add_signed(self.nodes[node].skew))
    }

    fn handle(&mut self, node: usize, event: Event) -> Result<(), String> {
        let now = self.clock(node);
        let others: Vec<Peer> = self.others(node);
        let here = &mut self.nodes[node];
        let Some(chain) = &mut here.chain else { return Ok(()) };
        if let (Some(traitor), Event::Message { from, message: Message::GetBlocks(ids) }) =
            (&here.traitor, &event)
        {
            let second: Vec<Action> = ids
                .iter()
                .filter_map(|id| traitor.block(id))
                .map(|message| Action::Send { to: *from, message })
                .collect();
            if !second.is_empty() {
                return self.carry_out(node, second);
            }
        }
        let before = chain.head_state().clone();
        let mut actions = chain.handle(now, event);
        if let Some(traitor) = &mut here.traitor {
            let key = Arc::clone(&here.key);
            actions = actions
                .into_iter()
                .flat_map(|action| {
                    traitor.turn(&key, chain, &before, &others, &mut self.chance, action)
                })
                .collect();
        } else {
            self.audit.check(node, chain)?;
        }
        self.carry_out(node, actions)
    }

    /// Writes records; everything else waits until what stands before it is durable.
    fn carry_out(&mut self, node: usize, actions: Vec<Action>) -> Result<(), String> {
        let here = &mut self.nodes[node];
        let before = here.disk.len();
        for action in actions {
            match action {
                Action::Persist(record) => here.disk.write(record),
                action => {
                    let needed = if self.plan.hasty { 0 } else { here.disk.len() };
                    here.held.push_back((needed, action));
                }
            }
        }
        let (upto, life) = (here.disk.len(), here.life);
        if upto > before {
            // A disk takes its time, sometimes long.
            let takes = if self.chance.in_thousand(20) {
                self.chance.between(10, 300) * MS
            } else {
                self.chance.between(1, 4) * MS
            };
            self.after(takes, Item::Synced { node, life, upto });
        }
        self.release(node)
    }

    fn release(&mut self, node: usize) -> Result<(), String> {
        loop {
            let here = &mut self.nodes[node];
            let durable = here.disk.durable();
            match here.held.front() {
                Some((needed, _)) if *needed <= durable => {}
                _ => return Ok(()),
            }
            let Some((_, action)) = here.held.pop_front() else { return Ok(()) };
            if here.traitor.is_none()
                && let Some(chain) = &here.chain
            {
                self.audit.saw(node, chain, &action)?;
            }
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { to, message } => self.send(node, to.0 as usize, &Arc::new(message)),
            Action::Broadcast(message) => {
                let message = Arc::new(message);
                for to in 0..self.nodes.len() {
                    if to != node {
                        self.send(node, to, &message);
                    }
                }
            }
            Action::Serve { to, request } => {
                let here = &self.nodes[node];
                let Some(chain) = &here.chain else { return };
                let me = here.key.public();
                let head = chain.head().id;
                for message in here.disk.serve(&self.network, &me, head, &request) {
                    self.send(node, to.0 as usize, &Arc::new(message));
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Arc<Message>) {
        if self.sides[from] != self.sides[to] || self.chance.in_thousand(self.plan.loss) {
            return;
        }
        if self.chance.in_thousand(5) {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(message.as_ref()));
        }
        let copies = if self.chance.in_thousand(self.plan.doubled) { 2 } else { 1 };
        let life = self.nodes[to].life;
        for _ in 0..copies {
            let takes = self.chance.between(1, self.plan.delay_ms.max(1)) * MS;
            let message = Arc::clone(message);
            self.after(takes, Item::Deliver { to, from, life, message });
        }
    }

    fn others(&self, node: usize) -> Vec<Peer> {
        (0..self.nodes.len()).filter(|other| *other != node).map(|n| Peer(n as u64)).collect()
    }

    fn after(&mut self, takes: u64, item: Item) {
        self.next_item += 1;
        self.queue.push(Reverse((self.now + takes, self.next_item)));
        self.items.insert(self.next_item, item);
    }
}
