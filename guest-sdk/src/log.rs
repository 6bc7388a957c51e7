//! Lines for the owner of the function: [`error!`](crate::error), [`warn!`](crate::warn),
//! [`info!`](crate::info), [`debug!`](crate::debug), [`trace!`](crate::trace).
//!
//! Owns: levels and macros. Invariant: one macro call is one record. Absent: filtering at run
//! time; the bytes are on the bill and count towards the run's log bound, so what is not worth
//! them should not be written.

use std::fmt;

use crate::host;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The call failed.
    Error,
    /// Something is off, the call goes on.
    Warn,
    /// What an operator wants to read.
    Info,
    /// What an author wants to read.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    pub(crate) fn to_api(self) -> talea_host_api::Level {
        match self {
            Level::Error => talea_host_api::Level::Error,
            Level::Warn => talea_host_api::Level::Warn,
            Level::Info => talea_host_api::Level::Info,
            Level::Debug => talea_host_api::Level::Debug,
            Level::Trace => talea_host_api::Level::Trace,
        }
    }
}

/// Writes one record.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(text) => host::log(level.to_api(), text.as_bytes()),
        None => host::log(level.to_api(), message.to_string().as_bytes()),
    }
}

/// Logs at a level given as the first argument, the rest as in `format!`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($message:tt)+) => {
        $crate::private::write($level, ::core::format_args!($($message)+))
    };
}

/// Logs that the call failed; arguments as in `format!`.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log!($crate::Level::Error, $($message)+) };
}

/// Logs that something is off; arguments as in `format!`.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log!($crate::Level::Warn, $($message)+) };
}

/// Logs what an operator wants to read; arguments as in `format!`.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log!($crate::Level::Info, $($message)+) };
}

/// Logs what an author wants to read; arguments as in `format!`.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log!($crate::Level::Debug, $($message)+) };
}

/// Logs everything else; arguments as in `format!`.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log!($crate::Level::Trace, $($message)+) };
}
