//! Which host takes a call: the simulation of DeFaaS (arXiv 2404.08151, table 2) with our policy beside theirs.
//!
//! From the paper: 6, 8 and 10 data centres, 10,000 calls of one unit of time each, arriving at data centres at random
//! or all at one of them. Assumed here, since the paper leaves it open:
//!
//! - A data centre works off one call at a time, in the order in which calls reach it, and has a gateway. Handing a
//!   call on takes no time.
//! - *Stream*: calls arrive by a Poisson process that keeps the data centres busy for 90 % of the time. What is told
//!   is how long a call waits before its work begins, in units.
//! - *Burst*: all calls are there at time 0. What is told is when the last one is done; 10,000 over the number of
//!   data centres is the least.
//! - *None*: a call is worked off where it arrives. *Choice of two*: it goes to a data centre at random, and if that
//!   one is at work, to a second one at random, be it at work or not (the usage of the simulations that speak of both).
//!   *Power of two*: to the one of two different ones at random that has fewer calls, told without delay or error.
//! - *Talea*: `draw::choose` itself, over a block and a run's name; the load is what this gateway has sent there and
//!   has no answer to. A new block each unit. Every gateway keeps its own count.
//! - *Offers*: the same draw over the load that each data centre publishes, every 10 units: offers are at least ten
//!   seconds apart, and a unit is a call of a second. *Both*: the published load and what this gateway has sent since.
//!   Neither is what Talea does: they are here because they were considered.
//! - *Best*: always to the one with fewest calls of all.
//!
//! Figures are means over 21 seeds; the table is the same on every machine.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot build its case should stop there"
)]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::collections::VecDeque;

use talea_ledger::{BlockId, RunId, draw};

const CALLS: usize = 10_000;
const SEEDS: u64 = 21;
/// Share of the time in which the data centres are at work, in the stream.
const BUSY: f64 = 0.9;
/// Units between two publications of a data centre's load.
const REFRESH: f64 = 10.0;

/// SplitMix64: the only source of chance but the draw itself.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn two(&mut self, of: usize) -> (usize, usize) {
        let first = self.below(of);
        let second = self.below(of - 1);
        (first, if second >= first { second + 1 } else { second })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    None,
    ChoiceOfTwo,
    PowerOfTwo,
    Talea,
    Offers,
    Both,
    Best,
}

impl Policy {
    const ALL: [(Self, &str); 7] = [
        (Self::None, "none"),
        (Self::ChoiceOfTwo, "choice of two"),
        (Self::PowerOfTwo, "power of two"),
        (Self::Talea, "**Talea**"),
        (Self::Offers, "offers"),
        (Self::Both, "both"),
        (Self::Best, "best"),
    ];
}

#[derive(Clone, Copy)]
enum Entry {
    Random,
    One,
}

/// The data centres, and what each gateway knows of them.
struct World {
    /// When each data centre has done what it has.
    free_at: Vec<f64>,
    /// Of each gateway, for each data centre: when its own calls there will be answered.
    sent: Vec<Vec<VecDeque<f64>>>,
    /// What each data centre published last, and the time of it.
    published: Vec<u32>,
    published_at: f64,
    /// Of each gateway, for each data centre: calls sent since then.
    since: Vec<Vec<u32>>,
}

impl World {
    fn new(count: usize) -> Self {
        Self {
            free_at: vec![0.0; count],
            sent: vec![vec![VecDeque::new(); count]; count],
            published: vec![0; count],
            published_at: 0.0,
            since: vec![vec![0; count]; count],
        }
    }

    /// Calls in a data centre, the one at work included: each takes one unit.
    fn load(&self, at: usize, now: f64) -> u32 {
        (self.free_at[at] - now).max(0.0).ceil() as u32
    }

    fn loads(&self, now: f64) -> Vec<u32> {
        (0..self.free_at.len()).map(|at| self.load(at, now)).collect()
    }

    fn publish(&mut self, now: f64) {
        if now - self.published_at >= REFRESH {
            self.published_at = (now / REFRESH).floor() * REFRESH;
            self.published = self.loads(self.published_at);
            self.since.iter_mut().for_each(|row| row.fill(0));
        }
    }

    fn own(&mut self, gateway: usize, now: f64) -> Vec<u32> {
        let rows = self.sent[gateway].iter_mut();
        rows.map(|sent| {
            while sent.front().is_some_and(|done| *done <= now) {
                sent.pop_front();
            }
            sent.len() as u32
        })
        .collect()
    }

    fn host(
        &mut self,
        policy: Policy,
        call: usize,
        (gateway, now): (usize, f64),
        chance: &mut Chance,
    ) -> usize {
        let count = self.free_at.len();
        let draw = |loads: &[u32]| {
            let block = BlockId::of(&(now as u64).to_le_bytes());
            let run = RunId::of(&[call.to_le_bytes(), chance.0.to_le_bytes()].concat());
            draw::choose(&block, &run, loads).unwrap()
        };
        match policy {
            Policy::None => gateway,
            Policy::ChoiceOfTwo => {
                let first = chance.below(count);
                if self.load(first, now) == 0 { first } else { chance.below(count) }
            }
            Policy::PowerOfTwo => {
                let (first, second) = chance.two(count);
                if self.load(second, now) < self.load(first, now) { second } else { first }
            }
            Policy::Talea => draw(&self.own(gateway, now)),
            Policy::Offers => draw(&self.published),
            Policy::Both => {
                let loads = self.published.iter().zip(&self.since[gateway]);
                draw(&loads.map(|(told, sent)| told + sent).collect::<Vec<_>>())
            }
            Policy::Best => (0..count).min_by_key(|at| self.load(*at, now)).unwrap(),
        }
    }

    /// Sends a call; gives how long it waits.
    fn send(&mut self, gateway: usize, host: usize, now: f64) -> f64 {
        let begins = self.free_at[host].max(now);
        self.free_at[host] = begins + 1.0;
        self.sent[gateway][host].push_back(begins + 1.0);
        self.since[gateway][host] += 1;
        begins - now
    }
}

struct Outcome {
    mean: f64,
    p99: f64,
    last: f64,
}

fn simulate(policy: Policy, count: usize, entry: Entry, is_burst: bool, seed: u64) -> Outcome {
    let mut chance = Chance(seed);
    let mut world = World::new(count);
    let mut waits = Vec::with_capacity(CALLS);
    let mut now = 0.0;
    for call in 0..CALLS {
        if !is_burst {
            now -= chance.unit().ln() / (BUSY * count as f64);
        }
        world.publish(now);
        let gateway = match entry {
            Entry::Random => chance.below(count),
            Entry::One => 0,
        };
        let host = world.host(policy, call, (gateway, now), &mut chance);
        waits.push(world.send(gateway, host, now));
    }
    waits.sort_by(f64::total_cmp);
    let mean = waits.iter().sum::<f64>() / CALLS as f64;
    let last = world.free_at.iter().copied().fold(0.0, f64::max);
    Outcome { mean, p99: waits[CALLS * 99 / 100], last }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    values.sum::<f64>() / SEEDS as f64
}

fn main() {
    println!(
        "| data centres | calls arrive | policy | stream: mean wait | p99 wait | burst: last done |"
    );
    println!("|---|---|---|---:|---:|---:|");
    for count in [6, 8, 10] {
        for (entry, name) in [(Entry::Random, "at random"), (Entry::One, "all at one")] {
            for (policy, policy_name) in Policy::ALL {
                let stream: Vec<Outcome> =
                    (0..SEEDS).map(|seed| simulate(policy, count, entry, false, seed)).collect();
                let burst: Vec<Outcome> =
                    (0..SEEDS).map(|seed| simulate(policy, count, entry, true, seed)).collect();
                println!(
                    "| {count} | {name} | {policy_name} | {:.2} | {:.1} | {:.0} |",
                    mean(stream.iter().map(|outcome| outcome.mean)),
                    mean(stream.iter().map(|outcome| outcome.p99)),
                    mean(burst.iter().map(|outcome| outcome.last)),
                );
            }
        }
    }
}
