//! Heaps and edges: shortest ways in a graph of 4,000 places and 24,000 roads, `n` times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use talea_kernels::{Numbers, fold};

const PLACES: u64 = 4_000;

fn kernel(n: u64) -> u64 {
    let mut numbers = Numbers(8);
    let roads: Vec<Vec<(usize, u64)>> = (0..PLACES)
        .map(|_| (0..6).map(|_| (numbers.below(PLACES) as usize, numbers.below(90) + 1)).collect())
        .collect();
    let mut sum = 0;
    for round in 0..n {
        let mut best = vec![u64::MAX; PLACES as usize];
        let start = (round * 7 % PLACES) as usize;
        let mut open = BinaryHeap::from([Reverse((0, start))]);
        best[start] = 0;
        while let Some(Reverse((cost, place))) = open.pop() {
            if cost > best[place] {
                continue;
            }
            for (next, length) in &roads[place] {
                let through = cost + length;
                if through < best[*next] {
                    best[*next] = through;
                    open.push(Reverse((through, *next)));
                }
            }
        }
        sum = best.iter().fold(sum, |sum, cost| fold(sum, *cost));
    }
    sum
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
