//! Allocation: binary trees of depth 12 built, walked and dropped, and vectors that grow, `n` times.

use talea_kernels::{Numbers, fold};

struct Tree(Option<Box<(Tree, Tree)>>);

fn grow(depth: u32) -> Tree {
    Tree((depth > 0).then(|| Box::new((grow(depth - 1), grow(depth - 1)))))
}

fn count(tree: &Tree) -> u64 {
    tree.0.as_ref().map_or(1, |both| 1 + count(&both.0) + count(&both.1))
}

fn kernel(n: u64) -> u64 {
    let mut sum = 0;
    for round in 0..n {
        sum = fold(sum, count(&grow(12)));
        let mut numbers = Numbers(round);
        let mut kept: Vec<Vec<u64>> = Vec::new();
        for _ in 0..600 {
            let len = numbers.below(300) as usize;
            let mut some = Vec::new();
            for x in numbers.by_ref().take(len) {
                some.push(x);
            }
            if kept.len() > 40 {
                let out = kept.swap_remove(numbers.below(40) as usize);
                sum = fold(sum, out.len() as u64);
            }
            kept.push(some);
        }
    }
    sum
}

fn main() -> std::process::ExitCode {
    talea_kernels::main(kernel)
}
