//! Defaults, file, environment and flags laid over each other, every value with its origin.
//!
//! Invariant: `DEFAULTS` lists every setting once; a key that it does not list does not exist.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use toml::Value;

use super::file::RawConfig;
use super::{ConfigError, FILE_VARIABLE, Origin, Sources};

/// Every setting and its default, as a file would give it. Empty: no default, or one that depends on
/// other settings and is chosen in `config`.
pub(super) const DEFAULTS: [(&str, &str); 61] = [
    ("listen", "127.0.0.1:7600"),
    ("addr_file", ""),
    ("data", ""),
    ("key_file", ""),
    ("network.params", ""),
    ("network.id", ""),
    ("network.join", "[]"),
    ("network.listen", ""),
    ("network.addr_file", ""),
    ("network.external", "[]"),
    ("network.mdns", "false"),
    ("network.nat", "true"),
    ("network.relays", "[]"),
    ("network.relay", "false"),
    // Each costs some 100 KiB of buffers; gossip needs about a dozen, and everybody else is reached by a new
    // connection.
    ("network.peers_max", "50"),
    ("network.endpoint", ""),
    ("network.offer", "true"),
    ("network.fetch", "true"),
    // A thousand modules of 4 MiB; beyond that what was brought gives way.
    ("network.fetch_size", "4 GiB"),
    ("price.per_call", "0"),
    ("price.rate", "0"),
    ("price.per_kib", "0"),
    ("credit.payers", "[]"),
    // A thousand calls at a price of 1,000: enough to try, little to lose.
    ("credit.cap", "1000000"),
    // Eighty runs of five billion fuel at 50 tal per million, caps of runs under way included.
    ("channels.watermark", "20000000"),
    ("channels.exposure", "0"),
    // A redeem costs its host a fee of some ten tal: one in ten thousand of what it brings.
    ("channels.redeem", "100000"),
    ("forward.when", "busy"),
    // Money of one's own that others hold: nobody's wish unless he says so.
    ("forward.budget", "0"),
    // Ten runs of five billion fuel at 200 tal per million.
    ("forward.escrow", "10000000"),
    // As long as another host gives a run by default.
    ("forward.time", "400s"),
    ("free.calls", "true"),
    ("free.per_second", ""),
    // Two seconds' worth at the default rate: a page that loads with 200 calls at once.
    ("free.burst", "200"),
    ("deploy.anyone", ""),
    ("deploy.keys", "[]"),
    ("limits.fuel", ""),
    // Usual code takes 0.1 to 0.3 ns a unit, so one to three seconds.
    ("limits.fuel_max", "10000000000"),
    ("limits.memory", "256 MiB"),
    ("limits.output", "16 MiB"),
    ("limits.log", "64 KiB"),
    ("http.body", "16 MiB"),
    ("http.module", "16 MiB"),
    // A descriptor each; below the usual soft limit of 1,024 once journal, blobs and pool have theirs.
    ("http.connections", "900"),
    ("http.in_flight", "512"),
    ("http.head_time", "10s"),
    ("http.body_time", "30s"),
    ("http.write_time", "30s"),
    ("http.idle_time", "75s"),
    ("http.grace", "10s"),
    ("http.open_lists", ""),
    ("compute.workers", ""),
    // Each holds a slot and some memory; at a millisecond a turn on two cores one waits 64 ms for the next.
    ("compute.runs", "128"),
    // What the largest fuel limit takes at the profile's worst time per fuel.
    ("compute.wall_time", "400s"),
    ("compute.cache", "512 MiB"),
    ("retention.age", "30d"),
    // The time in which a payer may dispute a bill.
    ("retention.paid", "7d"),
    // Above what channels stand for by default: a bill that nobody redeemed by then has no channel any more.
    ("retention.unpaid", "30d"),
    ("retention.size", "64 GiB"),
    ("log.format", "text"),
    ("log.filter", "info"),
];

/// The variable that gives a setting: `price.per_call` is `TALEA_PRICE_PER_CALL`.
pub(super) fn variable(key: &str) -> String {
    format!("TALEA_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Values with their origins; the highest layer that gives a key has it.
#[derive(Debug)]
pub(super) struct Layers {
    values: HashMap<&'static str, (Value, Origin)>,
}

impl Layers {
    pub(super) fn gather(sources: &Sources) -> Result<Self, ConfigError> {
        let mut values = HashMap::new();
        for (key, default) in DEFAULTS {
            if !default.is_empty() {
                values.insert(key, (Value::String(default.to_owned()), Origin::Default));
            }
        }
        let mut layers = Self { values };
        if let Some(path) = &sources.file {
            layers.lay_file(path)?;
        }
        layers.lay_environment(&sources.environment)?;
        for (key, value) in &sources.flags {
            let origin = Origin::Flag(key.clone());
            let Some(known) = known(key) else {
                return Err(ConfigError::Unknown {
                    origin,
                    key: key.clone(),
                    nearest: nearest(key),
                });
            };
            layers.values.insert(known, (Value::String(value.clone()), origin));
        }
        Ok(layers)
    }

    fn lay_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let raw: RawConfig = toml::from_str(&text).map_err(|fault| {
            let (line, column) = place(&text, fault.span().map_or(0, |span| span.start));
            let message = fault.message().to_owned();
            ConfigError::Syntax { path: path.to_owned(), line, column, message }
        })?;
        for (key, value) in raw.values() {
            let (line, _) = place(&text, value.span().start);
            let origin = Origin::File { path: path.to_owned(), line };
            self.values.insert(key, (value.into_inner(), origin));
        }
        Ok(())
    }

    /// Variables of other tools may start with `TALEA_` too; one that starts like a *section* of ours
    /// and is none of its settings is taken for a slip.
    fn lay_environment(
        &mut self,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let names: HashMap<String, &'static str> =
            DEFAULTS.iter().map(|(key, _)| (variable(key), *key)).collect();
        for (name, value) in environment {
            if name == FILE_VARIABLE {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            if let Some(key) = names.get(name) {
                self.values.insert(key, (Value::String(value.clone()), origin));
            } else if is_of_a_section(name) {
                let key = name.trim_start_matches("TALEA_").to_ascii_lowercase();
                return Err(ConfigError::Unknown { origin, nearest: nearest(&key), key });
            }
        }
        Ok(())
    }

    /// The value of a setting that has a default.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: fn(&Value) -> Result<T, &'static str>,
    ) -> Result<T, ConfigError> {
        self.read_optional(key, parse)?.ok_or(ConfigError::Missing { key })
    }

    /// The value of a setting that may be absent.
    pub(super) fn read_optional<T>(
        &self,
        key: &'static str,
        parse: fn(&Value) -> Result<T, &'static str>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((value, _)) = self.values.get(key) else { return Ok(None) };
        parse(value).map(Some).map_err(|expected| self.fault(key, expected))
    }

    /// Says that the value of `key` is not what it takes.
    pub(super) fn fault(&self, key: &'static str, expected: &str) -> ConfigError {
        let (given, origin) = match self.values.get(key) {
            Some((Value::String(text), origin)) => (text.clone(), origin.clone()),
            Some((value, origin)) => (value.to_string(), origin.clone()),
            None => (String::new(), Origin::Default),
        };
        ConfigError::Value { origin, key, expected: expected.to_owned(), given }
    }
}

fn known(key: &str) -> Option<&'static str> {
    DEFAULTS.iter().map(|(known, _)| *known).find(|known| *known == key)
}

fn is_of_a_section(variable: &str) -> bool {
    let rest = variable.trim_start_matches("TALEA_").to_ascii_lowercase();
    DEFAULTS.iter().any(|(key, _)| {
        key.split_once('.').is_some_and(|(section, _)| {
            rest.strip_prefix(section).is_some_and(|rest| rest.starts_with('_'))
        })
    })
}

/// The setting that is spelled most like `key`, if at most three letters differ.
fn nearest(key: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace(['.', '-'], "_");
    let key = plain(key);
    let (distance, name) = DEFAULTS
        .iter()
        .map(|(known, _)| (distance(&key, &plain(known)), *known))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= 3).then_some(name)
}

/// Letters to add, drop or change to make one word of another (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<u8> = other.bytes().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// Line and column, counted from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}
