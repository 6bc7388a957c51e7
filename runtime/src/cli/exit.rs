//! How a command ends: the exit codes, and the error that carries one.
//!
//! Invariants: every way out of the process is an [`Exit`]; the numbers are part of the command's interface and
//! are printed by `talea --help` from the same table. 64 and above follow `sysexits.h`, below that they are ours.
//! Absent: printing (see `screen`).

use std::fmt;

/// The end of a command, as a script sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It worked, and a verdict, if one was asked for, is `match`.
    Ok,
    /// It failed for a reason without a code of its own.
    Failed,
    /// The command line itself was wrong; clap uses the same number.
    Usage,
    /// A receipt is false: a re-run, a signature, a link or a price contradicts it.
    Mismatch,
    /// A receipt could be neither confirmed nor refuted here.
    Indeterminate,
    /// The function ran and was billed, and ended otherwise than `ok`.
    Guest,
    /// A configuration file, variable or flag does not describe a node that can run.
    Config,
    /// Input of ours was read but is not what it should be: a module, a bundle, a key.
    Data,
    /// A file that was named is not there or cannot be read.
    NoInput,
    /// The node cannot be reached, or says that it cannot serve now.
    Unavailable,
    /// The node, or the file system, does not permit it.
    Denied,
}

/// One row of the table: code, number, meaning.
pub(super) const TABLE: &[(Exit, u8, &str)] = &[
    (Exit::Ok, 0, "ok; a verdict, if asked for, is `match`"),
    (Exit::Failed, 1, "failed"),
    (Exit::Usage, 2, "wrong usage of the command line"),
    (Exit::Mismatch, 3, "a receipt is false: verdict `mismatch`, a bad signature, link or price"),
    (Exit::Indeterminate, 4, "verdict `indeterminate`: neither confirmed nor refuted"),
    (Exit::Guest, 5, "the function ran and was billed, but did not end `ok`"),
    (Exit::Config, 64, "bad configuration"),
    (Exit::Data, 65, "bad input data: a refused module, a damaged file"),
    (Exit::NoInput, 66, "a file that was named cannot be read"),
    (Exit::Unavailable, 69, "the node cannot be reached or is overloaded"),
    (Exit::Denied, 77, "not permitted, or not paid for"),
];

/// A command's result.
pub(super) type Ran = Result<Exit, Failure>;

/// Why a command failed, with the exit code that says it and, where we know one, the next thing to try.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    cause: anyhow::Error,
    /// The stable code a node gave, e.g. `function_unknown`.
    code: Option<String>,
    advice: Option<String>,
}

// === impl Exit ===

impl Exit {
    /// The number the process ends with.
    pub(super) fn number(self) -> u8 {
        // Every variant is in TABLE (a test says so); 1 is the honest answer were one forgotten.
        TABLE.iter().find(|(exit, ..)| *exit == self).map_or(1, |(_, number, _)| *number)
    }

    /// The table as `--help` shows it.
    pub(super) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (_, number, meaning) in TABLE {
            text.push_str(&format!("  {number:>2}  {meaning}\n"));
        }
        text
    }
}

// === impl Failure ===

impl Failure {
    /// A failure that ends the process with `exit`.
    pub(super) fn new(exit: Exit, cause: impl Into<anyhow::Error>) -> Self {
        Self { exit, cause: cause.into(), code: None, advice: None }
    }

    /// A failure described by a sentence alone.
    pub(super) fn said(
        exit: Exit,
        sentence: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
    ) -> Self {
        Self::new(exit, anyhow::Error::msg(sentence))
    }

    /// Adds what the user can do about it.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Adds the node's stable code.
    pub(super) fn coded(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The code to end with.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// The node's stable code, when a node refused.
    pub(super) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What the user can do about it.
    pub(super) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The sentence and its causes, outermost first, without causes that repeat what was just said.
    pub(super) fn sentence(&self) -> String {
        let mut text = self.cause.to_string();
        for cause in self.cause.chain().skip(1) {
            let cause = cause.to_string();
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        text
    }
}

impl From<anyhow::Error> for Failure {
    fn from(cause: anyhow::Error) -> Self {
        Self::new(Exit::Failed, cause)
    }
}

/// `result.or_exit(Exit::NoInput, || ...)`: the code and the sentence where the error becomes the user's.
pub(super) trait OrExit<T> {
    /// Turns an error into a [`Failure`] that ends with `exit` and starts with `sentence`.
    fn or_exit<S>(self, exit: Exit, sentence: impl FnOnce() -> S) -> Result<T, Failure>
    where
        S: fmt::Display + Send + Sync + 'static;
}

impl<T, E> OrExit<T> for Result<T, E>
where
    E: Into<anyhow::Error>,
{
    fn or_exit<S>(self, exit: Exit, sentence: impl FnOnce() -> S) -> Result<T, Failure>
    where
        S: fmt::Display + Send + Sync + 'static,
    {
        self.map_err(|cause| Failure::new(exit, cause.into().context(sentence())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once_and_every_exit_has_one() {
        let mut numbers: Vec<u8> = TABLE.iter().map(|(_, number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len());
        for (exit, number, _) in TABLE {
            assert_eq!(exit.number(), *number);
        }
        // An exhaustive match, so that a new variant is not forgotten in the table.
        for (exit, ..) in TABLE {
            match exit {
                Exit::Ok
                | Exit::Failed
                | Exit::Usage
                | Exit::Mismatch
                | Exit::Indeterminate
                | Exit::Guest => {}
                Exit::Config | Exit::Data | Exit::NoInput | Exit::Unavailable | Exit::Denied => {}
            }
        }
        assert_eq!(TABLE.len(), 11);
    }

    #[test]
    fn a_sentence_names_each_cause_once() {
        let cause =
            anyhow::anyhow!("disk is full").context("disk is full").context("cannot write x.talea");
        assert_eq!(
            Failure::new(Exit::Failed, cause).sentence(),
            "cannot write x.talea: disk is full"
        );
    }
}
