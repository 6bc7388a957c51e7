//! What the command takes from around it: environment variables, the terminal, the folder for its own files.
//!
//! Owns: the only reading of the environment in the command line (clap reads `TALEA_NODE` and the node's
//! `TALEA_*` through its own tables). Invariant: everything here is read once, into a plain value that a test can
//! make from a map. Absent: any writing of the environment.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// The facts around one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Where the wallet and its runs live.
    pub(super) home: Option<PathBuf>,
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub(super) no_color: bool,
    /// `TERM=dumb`: neither colours nor moving lines.
    pub(super) dumb: bool,
    /// Standard output is a terminal.
    pub(super) out_is_terminal: bool,
    /// Standard error is a terminal.
    pub(super) err_is_terminal: bool,
}

impl Surroundings {
    /// Reads them from the process.
    pub(super) fn read() -> Self {
        Self {
            out_is_terminal: std::io::stdout().is_terminal(),
            err_is_terminal: std::io::stderr().is_terminal(),
            ..Self::from_variables(|name| std::env::var_os(name))
        }
    }

    /// Reads them from any map of variables.
    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            home: filled("TALEA_HOME").map(PathBuf::from).or_else(|| platform_home(&filled)),
            no_color: filled("NO_COLOR").is_some(),
            dumb: filled("TERM").is_some_and(|term| term == "dumb"),
            ..Self::default()
        }
    }
}

/// The folder the platform keeps for a user's configuration.
#[cfg(target_os = "macos")]
fn platform_home(filled: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    filled("HOME").map(|home| PathBuf::from(home).join("Library/Application Support/talea"))
}

#[cfg(windows)]
fn platform_home(filled: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    filled("APPDATA").map(|home| PathBuf::from(home).join("talea"))
}

#[cfg(not(any(target_os = "macos", windows)))]
fn platform_home(filled: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    filled("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        // The XDG base directory specification tells us to ignore a relative path.
        .filter(|path| path.is_absolute())
        .or_else(|| filled("HOME").map(|home| PathBuf::from(home).join(".config")))
        .map(|config| config.join("talea"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let found = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Surroundings::from_variables(found).home
    }

    #[test]
    fn the_explicit_folder_wins_over_the_platforms() {
        assert_eq!(home(&[("TALEA_HOME", "/t"), ("HOME", "/h")]), Some(PathBuf::from("/t")));
        assert_eq!(home(&[]), None);
        assert_eq!(home(&[("TALEA_HOME", "")]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_linux_xdg_is_followed_when_it_is_absolute() {
        assert_eq!(home(&[("HOME", "/h")]), Some(PathBuf::from("/h/.config/talea")));
        assert_eq!(
            home(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]),
            Some(PathBuf::from("/x/talea"))
        );
        assert_eq!(
            home(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "x")]),
            Some(PathBuf::from("/h/.config/talea"))
        );
    }
}
