//! The first call of a function: held by another node, held here and not compiled, compiled, and the call after it.

use std::fs;

use anyhow::ensure;
use talea_ledger::FunctionId;

use super::node::Member;
use super::{Nodes, Row};
use crate::asking::ask;
use crate::inside::guests::{binary, large};
use crate::report::median;
use crate::stopwatch::Stopwatch;

/// Modules of each length, of which the median counts.
const ROUNDS: usize = 6;
const LENGTHS: [usize; 2] = [16 * 1024, 512 * 1024];

pub(super) fn rows(nodes: &Nodes) -> anyhow::Result<Vec<Row>> {
    let holder = Member::start(nodes, "cold-holder", &[])?;
    let other = ["--join", holder.join.as_str()];
    let mut ids = Vec::new();
    for len in LENGTHS {
        let mut of_length = Vec::new();
        for round in 0..ROUNDS {
            // Another function each time, by one constant.
            let text = large(len - len / 16);
            let text = text.replacen("(i64.const 9)", &format!("(i64.const {})", 10 + round), 1);
            of_length.push(holder.deploy(&binary(&text)?)?);
        }
        ids.push(of_length);
    }
    let calls = |node: &Member| -> anyhow::Result<Vec<f64>> {
        ids.iter().map(|ids| Ok(median(times(node, ids)?.into_iter()))).collect()
    };
    let node = Member::start(nodes, "cold-other", &other)?;
    let elsewhere = calls(&node)?;
    ensure!(node.metric("talea_functions_brought_total")? as usize == 2 * ROUNDS, "all came");
    drop(node);
    fs::remove_dir_all(nodes.folder.join("cold-other/data/artefacts"))?;
    let node = Member::start(nodes, "cold-other", &other)?;
    let compiled = calls(&node)?;
    drop(node);
    let node = Member::start(nodes, "cold-other", &other)?;
    let loaded = calls(&node)?;
    let warm = calls(&node)?;
    let ms = |nanos: f64| format!("{:.2} ms", nanos / 1e6);
    let mut rows = Vec::new();
    for (at, len) in LENGTHS.into_iter().enumerate() {
        let kib = len / 1024;
        let here = compiled[at];
        rows.push(Row::new(
            format!("first call, {kib} KiB, held by another node: found, fetched, compiled, run"),
            ms(elsewhere[at]),
            format!(
                "{:.2} times the same held here and not compiled ({})",
                elsewhere[at] / here,
                ms(here)
            ),
        ));
        rows.push(Row::new(
            format!("first call after a start, {kib} KiB, compiled before"),
            ms(loaded[at]),
            format!("the call after it: {}", ms(warm[at])),
        ));
    }
    Ok(rows)
}

/// Nanoseconds of one call of each, receipt included.
fn times(node: &Member, ids: &[FunctionId]) -> anyhow::Result<Vec<f64>> {
    ids.iter()
        .map(|id| {
            let watch = Stopwatch::start();
            let (status, body) = ask(node.address(), "GET", &format!("/f/{id}/"), &[], &[])?;
            let nanos = watch.nanos() as f64;
            ensure!(status == 200 && body.ends_with(b"01234"), "a call answered {status}");
            Ok(nanos)
        })
        .collect()
}
