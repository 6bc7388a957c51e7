//! From windows to a page.
//!
//! Owns the arithmetic on samples (medians over rounds, ratios within a round) and the two forms of
//! a report: Markdown for people, JSON for programs. Absent: a verdict by exit code; a machine's
//! speed fails no command.

use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Machine;
use crate::peers::Absent;
use crate::rounds::{Contender, Marks, Measured, Plan, Sample};

/// Disturbance of the server's core above which a row is marked: 3 % of a core moves a rate by
/// about as much as the aims are apart from each other.
const DISTURBED_MAX: f64 = 0.03;
/// Use of the generator's core above which a row may show the generator instead of the server.
const GENERATOR_MAX: f64 = 0.95;

/// Everything a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// How long and how often.
    pub plan: Plan,
    /// Median of a synced 4 KiB write, in microseconds.
    pub disk_us: f64,
    /// One strict signature verification on this machine, in microseconds.
    pub verify_us: Option<f64>,
    /// Who was measured.
    pub contenders: Vec<Named>,
    /// Who was not.
    pub absent: Vec<Absent>,
    /// The figures.
    pub rows: Vec<Row>,
    /// What was to be reached.
    pub aims: Vec<Aim>,
}

/// A contender's name and worth.
#[derive(Clone, Debug, Serialize)]
pub struct Named {
    /// Short name.
    pub key: &'static str,
    /// Name in the table.
    pub title: String,
    /// Version.
    pub version: String,
    /// What its answers are worth.
    pub marks: Marks,
}

/// The median figures of one contender at one number of connections.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The number of connections.
    pub connections: usize,
    /// Short name of the contender.
    pub key: &'static str,
    /// Its name.
    pub title: String,
    /// Median of rounds of each figure.
    pub median: Sample,
    /// Median of the ratios to bare hyper in the same round.
    pub ratio: f64,
    /// The lowest of these ratios.
    pub ratio_low: f64,
    /// The highest of them.
    pub ratio_high: f64,
    /// Processor time of bare hyper's answer over that of this one's, median over rounds. A neighbour on the
    /// machine, or a generator at its limit, moves it less than it moves a rate.
    pub cpu_ratio: f64,
    /// Every round's figures.
    pub rounds: Vec<Sample>,
}

/// One aim and whether it was reached.
#[derive(Clone, Debug, Serialize)]
pub struct Aim {
    /// What was to be reached.
    pub what: String,
    /// What was seen.
    pub seen: f64,
    /// The bound.
    pub bound: f64,
    /// Whether it was reached.
    pub reached: bool,
    /// Whether the rows that it is made of were undisturbed. A disturbed run decides nothing.
    pub decided: bool,
}

impl Report {
    /// Makes the report of a run.
    #[must_use]
    pub fn new(
        machine: Machine,
        plan: Plan,
        contenders: &[Contender],
        absent: Vec<Absent>,
        measured: &Measured,
        verify_us: Option<f64>,
    ) -> Self {
        let mut rows = Vec::new();
        for level in &measured.levels {
            let floor = &level.samples[0];
            for (contender, samples) in contenders.iter().zip(&level.samples) {
                rows.push(row(level.connections, contender, samples, floor));
            }
        }
        let disk_us = median(measured.disk_us.iter().copied());
        let aims = aims(&rows, disk_us, verify_us);
        let contenders = contenders
            .iter()
            .map(|it| Named {
                key: it.key,
                title: it.title.clone(),
                version: it.version.clone(),
                marks: it.marks,
            })
            .collect();
        Self { machine, plan, disk_us, verify_us, contenders, absent, rows, aims }
    }

    /// The section for the page of results.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut page = String::from("## Load: HTTP end to end\n\n");
        self.say_how(&mut page);
        self.say_who(&mut page);
        for &connections in &self.plan.connections {
            self.say_level(&mut page, connections);
        }
        self.say_aims(&mut page);
        page
    }

    fn say_how(&self, page: &mut String) {
        let Plan { rounds, window, warmup, .. } = &self.plan;
        say(page, format_args!("{}\n", self.machine.line()));
        say(
            page,
            format_args!(
                "Server on the first core, generator on the second; closed loop, kept-alive connections. \
                 {rounds} rounds in which the servers take turns, {:.1} s each after {:.1} s of warm-up. \
                 Figures are medians over the rounds; a ratio is taken within its round. \
                 A synced 4 KiB write took {:.0} us{}.\n",
                window.as_secs_f64(),
                warmup.as_secs_f64(),
                self.disk_us,
                self.verify_us
                    .map(|us| format!(", one strict signature verification {us:.1} us"))
                    .unwrap_or_default()
            ),
        );
    }

    fn say_who(&self, page: &mut String) {
        page.push_str(
            "| server | version | isolation per request | metered | receipt | durable |\n",
        );
        page.push_str("|---|---|---|---|---|---|\n");
        for Named { title, version, marks, .. } in &self.contenders {
            let Marks { isolation, metering, receipt, durability } = marks;
            say(
                page,
                format_args!(
                    "| {title} | {version} | {isolation} | {metering} | {receipt} | {durability} |"
                ),
            );
        }
        for Absent { title, why } in &self.absent {
            say(
                page,
                format_args!("| {title} | not measured: {} | | | | |", why.replace('|', "/")),
            );
        }
        page.push('\n');
    }

    fn say_level(&self, page: &mut String, connections: usize) {
        let plural = if connections == 1 { "connection" } else { "connections" };
        say(page, format_args!("### {connections} {plural}\n"));
        page.push_str(
            "| server | answers/s | of bare hyper (lowest-highest) | p50 us | p99 us | p99.9 us | CPU us per answer | by CPU of bare hyper | peak MiB | core taken by others |\n",
        );
        page.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
        for row in self.rows.iter().filter(|row| row.connections == connections) {
            let it = &row.median;
            let mut notes = String::new();
            if it.disturbed > DISTURBED_MAX {
                notes.push_str(" (disturbed)");
            }
            if it.generator_busy > GENERATOR_MAX {
                notes.push_str(" (generator at its limit)");
            }
            if it.failures > 0 {
                say(&mut notes, format_args!(" ({} failures)", it.failures));
            }
            say(
                page,
                format_args!(
                    "| {} | {:.0} | {:.3} ({:.3}-{:.3}) | {:.0} | {:.0} | {:.0} | {:.2} | {:.3} | {:.0} | {:.0} %{} |",
                    row.title,
                    it.rate,
                    row.ratio,
                    row.ratio_low,
                    row.ratio_high,
                    it.p50_us,
                    it.p99_us,
                    it.p999_us,
                    it.cpu_us,
                    row.cpu_ratio,
                    it.peak_mib,
                    it.disturbed * 100.0,
                    notes.trim_end()
                ),
            );
        }
        page.push('\n');
    }

    fn say_aims(&self, page: &mut String) {
        if self.aims.is_empty() {
            return;
        }
        page.push_str("| aim | bound | seen | |\n|---|---:|---:|---|\n");
        for Aim { what, seen, bound, reached, decided } in &self.aims {
            let word = match (decided, reached) {
                (false, _) => "not decided: disturbed",
                (true, true) => "reached",
                (true, false) => "missed",
            };
            say(page, format_args!("| {what} | {bound:.2} | {seen:.2} | {word} |"));
        }
    }
}

fn say(page: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{line}");
}

fn row(connections: usize, contender: &Contender, samples: &[Sample], floor: &[Sample]) -> Row {
    let ratios: Vec<f64> =
        samples.iter().zip(floor).map(|(it, hyper)| it.rate / hyper.rate).collect();
    let by_cpu = samples.iter().zip(floor).map(|(it, hyper)| hyper.cpu_us / it.cpu_us);
    Row {
        connections,
        key: contender.key,
        title: contender.title.clone(),
        median: Sample {
            rate: median(samples.iter().map(|it| it.rate)),
            p50_us: median(samples.iter().map(|it| it.p50_us)),
            p99_us: median(samples.iter().map(|it| it.p99_us)),
            p999_us: median(samples.iter().map(|it| it.p999_us)),
            cpu_us: median(samples.iter().map(|it| it.cpu_us)),
            peak_mib: samples.iter().map(|it| it.peak_mib).fold(0.0, f64::max),
            disturbed: median(samples.iter().map(|it| it.disturbed)),
            generator_busy: median(samples.iter().map(|it| it.generator_busy)),
            failures: samples.iter().map(|it| it.failures).sum(),
        },
        ratio: median(ratios.iter().copied()),
        ratio_low: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratio_high: ratios.iter().copied().fold(0.0, f64::max),
        cpu_ratio: median(by_cpu),
        rounds: samples.to_vec(),
    }
}

impl Row {
    /// Whether neither a neighbour nor the generator had a part in its rate.
    fn is_calm(&self) -> bool {
        self.median.disturbed <= DISTURBED_MAX && self.median.generator_busy <= GENERATOR_MAX
    }
}

/// The middle of the values, or the mean of the two in the middle; 0 of none.
#[must_use]
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len.is_multiple_of(2) => f64::midpoint(values[len / 2 - 1], values[len / 2]),
        len => values[len / 2],
    }
}

fn aims(rows: &[Row], disk_us: f64, verify_us: Option<f64>) -> Vec<Aim> {
    let find = |key: &str, connections: usize| {
        rows.iter().find(|row| row.key == key && row.connections == connections)
    };
    let mut aims = Vec::new();
    let mut at_least = |what: String, seen: f64, bound: f64, of: [&Row; 2]| {
        let decided = of.iter().all(|row| row.is_calm());
        aims.push(Aim { what, seen, bound, reached: seen >= bound, decided });
    };
    for (key, connections, must, aim) in
        [("free", 32, 0.28, Some(0.35)), ("free", 256, 0.42, Some(0.50)), ("paid", 256, 0.10, None)]
    {
        let rows = find(key, connections).zip(find("hyper", connections));
        let Some((row, hyper)) = rows else { continue };
        let what = format!("{key} call, {connections} connections, of bare hyper");
        at_least(format!("{what}: must"), row.ratio, must, [row, hyper]);
        if let Some(aim) = aim {
            at_least(format!("{what}: aim"), row.ratio, aim, [row, hyper]);
        }
    }
    for connections in [32, 256] {
        for (peer, bound) in [("serve", 5.0), ("workerd", 3.0)] {
            let Some((free, peer)) = find("free", connections).zip(find(peer, connections)) else {
                continue;
            };
            let ratios = free.rounds.iter().zip(&peer.rounds).map(|(a, b)| a.rate / b.rate);
            let what = format!("free call, {connections} connections, times {}", peer.title);
            at_least(what, median(ratios), bound, [free, peer]);
        }
    }
    let mut at_most = |what: &str, seen: f64, bound: f64, of: [&Row; 2]| {
        let (what, decided) = (what.to_owned(), of.iter().all(|row| row.is_calm()));
        aims.push(Aim { what, seen, bound, reached: seen <= bound, decided });
    };
    if let Some((free, hyper)) = find("free", 1).zip(find("hyper", 1)) {
        let bound = hyper.median.p50_us + disk_us + 100.0;
        let what = "free call, 1 connection, p50 us: hyper + one sync + 100 us";
        at_most(what, free.median.p50_us, bound, [free, hyper]);
    }
    if let Some(((paid, free), verify)) = find("paid", 256).zip(find("free", 256)).zip(verify_us) {
        let seen = paid.median.cpu_us - free.median.cpu_us - verify;
        let what = "paid call beyond free call and verification, CPU us at 256";
        at_most(what, seen, 3.0, [paid, free]);
    }
    aims
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
