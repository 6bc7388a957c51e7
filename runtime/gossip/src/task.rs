//! The network's one task: the swarm, what is known of peers, and the orders of the node.
//!
//! Invariant: nothing here waits for the node or for a peer; what cannot be done at once is bounded, put aside or
//! dropped, and counted.

mod chain;
mod connect;
mod dial;
mod gossip;
mod greet;
mod provide;
mod serve;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libp2p::futures::StreamExt;
use libp2p::futures::stream::FuturesUnordered;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use self::dial::Joining;
use self::gossip::{Early, Unsent};
use self::provide::Searches;
use self::serve::{Answering, Fetches};
use crate::behaviour::{self, Behaviour, BehaviourEvent};
use crate::handle::{Gossip, ORDERS_MAX, Order, Waiting};
use crate::hello::{EDITION, Hello};
use crate::inbox::{Deliveries, Held, Inbox, Incoming, inbox};
use crate::key;
use crate::options::{Limits, Nat, Options, StartError};
use crate::peers::Peers;
use crate::topics::Topics;
use crate::view::{PeerView, Tally};

/// Between two looks at deadlines, bans and views.
const TICK: Duration = Duration::from_millis(500);

/// Everything the task holds.
pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    hello: Hello,
    params: Vec<u8>,
    limits: Limits,
    /// Whether it relays for others: then what it listens on is where it is reached.
    is_relay: bool,
    topics: Topics,
    peers: Peers,
    joining: Vec<Joining>,
    /// When more peers are looked for, if there are few.
    more_at: Option<Instant>,
    orders: mpsc::Receiver<Order>,
    waiting: Arc<Waiting>,
    deliveries: Deliveries,
    /// Comings and goings that did not fit into the inbox; until they do, nothing else goes in.
    owed: VecDeque<Incoming>,
    tally: Arc<Tally>,
    views: watch::Sender<Arc<Vec<PeerView>>>,
    addresses: watch::Sender<Arc<Vec<Multiaddr>>>,
    early: HashMap<PeerId, Early>,
    unsent: Unsent,
    answering: FuturesUnordered<Answering>,
    fetches: Fetches,
    searches: Searches,
}

/// Starts the network on the current tokio runtime. It ends when the last handle is dropped or closed.
///
/// Addresses that cannot be listened on are an error; nodes that cannot be joined are not.
pub fn start(options: Options) -> Result<(Gossip, Inbox), StartError> {
    let pair = key::keypair(&options.secret).ok_or(StartError::Key)?;
    let topics = Topics::of(&options.network);
    let mut swarm = behaviour::swarm(&pair, options.limits.idle, |pair, relayed| {
        behaviour::behaviour(pair, relayed, &options, &topics)
    })?;
    for address in &options.listen {
        swarm
            .listen_on(address.clone())
            .map_err(|source| StartError::Listen { address: address.clone(), source })?;
    }
    for address in &options.external {
        swarm.add_external_address(address.clone());
    }
    let relays = match &options.nat {
        Nat::Off => Vec::new(),
        Nat::On { relays, .. } => relays.clone(),
    };
    let joining = dial::joining(&options.join, &relays)?;
    let (orders, queue) = mpsc::channel(ORDERS_MAX);
    let (deliveries, incoming) = inbox();
    let (views, peers) = watch::channel(Arc::default());
    let (addresses, listened) = watch::channel(Arc::default());
    let (waiting, tally) = (Arc::<Waiting>::default(), Arc::<Tally>::default());
    let handle = Gossip {
        orders,
        waiting: waiting.clone(),
        tally: tally.clone(),
        peers,
        addresses: listened,
    };
    let task = Task {
        swarm,
        hello: Hello {
            network: options.network,
            edition: EDITION,
            agent: options.agent,
            endpoint: options.endpoint,
        },
        params: options.params,
        limits: options.limits,
        is_relay: matches!(options.nat, Nat::On { serve: true, .. }),
        topics,
        peers: Peers::default(),
        joining,
        more_at: None,
        orders: queue,
        waiting,
        deliveries,
        owed: VecDeque::new(),
        tally,
        views,
        addresses,
        early: HashMap::new(),
        unsent: Unsent::default(),
        answering: FuturesUnordered::new(),
        fetches: Fetches::default(),
        searches: Searches::default(),
    };
    tokio::spawn(task.run());
    Ok((handle, incoming))
}

impl Task {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closed: Option<oneshot::Sender<()>> = None;
        let deliveries = self.deliveries.clone();
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.event(event),
                order = self.orders.recv() => match order {
                    Some(Order::Close(reply)) => {
                        closed = Some(reply);
                        break;
                    }
                    Some(order) => self.order(order),
                    None => break,
                },
                Some(answer) = self.answering.next() => self.answered(answer),
                room = deliveries.reserve(), if !self.owed.is_empty() => match room {
                    Ok(room) => {
                        if let Some(incoming) = self.owed.pop_front() {
                            room.send((incoming, None));
                        }
                    }
                    // The node does not listen any more, so there is nothing to do for it.
                    Err(_) => break,
                },
                _ = tick.tick() => self.tick(Instant::now()),
            }
        }
        drop(self);
        if let Some(reply) = closed {
            // Who closes may have stopped waiting.
            let _ = reply.send(());
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Send(to, message) => {
                self.waiting.leave(message.len());
                self.send(&to, message);
            }
            Order::Publish(topic, message) => {
                self.waiting.leave(message.len());
                self.publish(topic, message, Instant::now());
            }
            Order::Verdict(id, from, verdict) => self.verdict(id, &from, verdict),
            Order::Blame(who, offence) => {
                if let Some(peer) = key::peer_of(&who) {
                    self.hold_against(peer, offence);
                }
            }
            Order::Provide(key) => self.provide(&key),
            Order::Unprovide(key) => self.unprovide(&key),
            Order::Providers(key, reply) => self.search(&key, reply),
            Order::Fetch(from, ask, reply) => self.fetch(&from, ask, reply),
            Order::Dial(address) => self.dial(address),
            Order::Close(_) => {}
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaved(event),
            other => self.connection_event(other),
        }
    }

    fn behaved(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Hello(event) => self.greeted(event),
            BehaviourEvent::Lanes(event) => self.chain_event(event),
            BehaviourEvent::Fetch(event) => self.fetch_event(event),
            BehaviourEvent::Gossip(event) => self.gossip_event(event),
            BehaviourEvent::Identify(event) => self.identified(event),
            BehaviourEvent::Ping(event) => self.pinged(&event),
            BehaviourEvent::Kad(event) => self.kad_event(event),
            BehaviourEvent::Mdns(event) => self.nearby(event),
            BehaviourEvent::Relayed(event) => tracing::debug!(?event, "relay"),
            BehaviourEvent::Relay(event) => tracing::debug!(?event, "relaying"),
            BehaviourEvent::Reached(event) => tracing::debug!(?event, "an own address was tried"),
            BehaviourEvent::Reaching(event) => {
                tracing::debug!(?event, "a peer's address was tried")
            }
            BehaviourEvent::Punched(event) => tracing::debug!(?event, "a hole was tried"),
            BehaviourEvent::Limits(never)
            | BehaviourEvent::Crowd(never)
            | BehaviourEvent::Banned(never) => match never {},
        }
    }

    /// What is done again and again.
    fn tick(&mut self, now: Instant) {
        for peer in self.peers.overdue(now) {
            self.overdue(peer);
        }
        for peer in self.peers.pardoned(now) {
            self.swarm.behaviour_mut().banned.unblock_peer(peer);
        }
        self.cut_off_the_worst(now);
        self.dial_again(now);
        self.dial_more(now);
        self.publish_again(now);
        self.announce();
        self.end_searches(now);
        self.show(now);
    }

    /// Publishes what the peers look like.
    fn show(&mut self, now: Instant) {
        let gossip = &self.swarm.behaviour().gossip;
        let views = self.peers.views(|peer| gossip.peer_score(peer).unwrap_or_default(), now);
        self.views.send_replace(Arc::new(views));
    }

    /// Puts something into the inbox. False when it does not fit: then it was dropped.
    fn deliver(&mut self, incoming: Incoming, held: Option<Held>) -> bool {
        self.owed.is_empty() && self.deliveries.try_send((incoming, held)).is_ok()
    }

    /// Puts a coming or going into the inbox, at the latest when there is room again.
    fn deliver_surely(&mut self, incoming: Incoming) {
        if !self.owed.is_empty() {
            self.owed.push_back(incoming);
        } else if let Err(mpsc::error::TrySendError::Full((incoming, _))) =
            self.deliveries.try_send((incoming, None))
        {
            self.owed.push_back(incoming);
        }
    }
}
