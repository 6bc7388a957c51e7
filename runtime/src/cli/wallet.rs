//! The user's own key, and what was promised with it.
//!
//! Owns: `<home>/wallet.key` (an Ed25519 secret as 64 hex digits and a newline, mode 0600), further keys of the
//! same form under `<home>/keys/NAME.key`, and `<home>/runs/` (see [`runs`]). Invariants: a key file comes into being whole, synced and private, or not at all; an existing
//! key is never overwritten; a key that others could read is not used. Absent: encryption of the key at rest.

pub(super) mod channels;
pub(super) mod commands;
pub(super) mod fund;
pub(super) mod runs;
pub(super) mod session;
pub(super) mod witness;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use talea_ledger::{PublicKey, SecretKey};

use super::Context;
use super::exit::{Exit, Failure, OrExit as _};
use super::surroundings::Surroundings;

/// A secret key's text: 64 hex digits and the newline.
const KEY_TEXT_LEN: u64 = 65;

/// The folder of one user's key and runs.
#[derive(Clone, Debug)]
pub(super) struct Home(PathBuf);

/// An open wallet.
#[derive(Debug)]
pub(super) struct Wallet {
    key: SecretKey,
    home: Home,
}

/// The name of a further key: a file's name on every system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyName(String);

/// Whether opening the wallet made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The key was there.
    Found,
    /// The key was made just now.
    Made,
}

// === impl Home ===

impl Home {
    /// The folder the surroundings name.
    pub(super) fn of(around: &Surroundings) -> Result<Self, Failure> {
        around.home.clone().map(Self).ok_or_else(|| {
            Failure::said(
                Exit::Config,
                "there is no folder for the wallet: neither TALEA_HOME nor HOME is set",
            )
            .advise("set TALEA_HOME to a folder of yours")
        })
    }

    /// A home at this path.
    #[cfg(test)]
    pub(super) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The file of the secret key.
    pub(super) fn key_path(&self) -> PathBuf {
        self.0.join("wallet.key")
    }

    /// The file of a further key.
    pub(super) fn named_path(&self, name: &KeyName) -> PathBuf {
        self.0.join("keys").join(format!("{}.key", name.0))
    }

    /// The names of the further keys, sorted.
    pub(super) fn names(&self) -> Vec<KeyName> {
        let entries = fs::read_dir(self.0.join("keys")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<KeyName> =
            names.filter_map(|name| name.strip_suffix(".key")?.parse().ok()).collect();
        names.sort();
        names
    }
}

// === impl Wallet ===

impl Wallet {
    /// Opens the wallet; makes its key on first use.
    pub(super) fn open_or_make(home: &Home) -> Result<(Self, Origin), Failure> {
        if !home.key_path().exists() {
            // Another process may make the key at the same moment: whichever links its file first wins, and the
            // loser's key was never used.
            match write_new_key(&home.key_path()) {
                Ok(()) => return Ok((Self::open(home)?, Origin::Made)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot("make", &home.key_path(), error)),
            }
        }
        Ok((Self::open(home)?, Origin::Found))
    }

    /// Makes a new wallet where there is none.
    pub(super) fn make(home: &Home) -> Result<Self, Failure> {
        Self::make_at(&home.key_path(), home)
    }

    /// Makes a further key.
    pub(super) fn make_named(home: &Home, name: &KeyName) -> Result<Self, Failure> {
        Self::make_at(&home.named_path(name), home)
    }

    fn make_at(path: &Path, home: &Home) -> Result<Self, Failure> {
        write_new_key(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::said(Exit::Failed, format!("there is already a key at {}", path.display()))
                    .advise(
                        "`talea wallet new NAME` makes a further one; a key is never overwritten",
                    )
            }
            _ => cannot("make", path, error),
        })?;
        Self::open_key(path, home)
    }

    /// Opens the wallet that is there.
    pub(super) fn open(home: &Home) -> Result<Self, Failure> {
        Self::open_key(&home.key_path(), home)
    }

    /// Opens a key that lies elsewhere; its runs are kept in `home`.
    pub(super) fn open_key(path: &Path, home: &Home) -> Result<Self, Failure> {
        let mut file = File::open(path)
            .or_exit(Exit::NoInput, || format!("cannot open the key {}", path.display()))?;
        let facts =
            file.metadata().or_exit(Exit::NoInput, || format!("cannot read {}", path.display()))?;
        refuse_if_readable_by_others(path, &facts)?;
        if facts.len() > KEY_TEXT_LEN {
            return Err(damaged(path));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .or_exit(Exit::Data, || format!("cannot read {}", path.display()))?;
        let bytes = unhex(text.trim_end()).ok_or_else(|| damaged(path))?;
        let key = SecretKey::from_bytes(&bytes);
        Ok(Self { key, home: home.clone() })
    }

    /// The key that signs.
    pub(super) fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The key others know this user by.
    pub(super) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The folder it lies in.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }
}

/// The wallet that signs a command: the key that was named, or the user's own, made on first use.
pub(super) fn open_for(key: Option<&Path>, context: &Context) -> Result<Wallet, Failure> {
    let home = Home::of(&context.around)?;
    if let Some(key) = key {
        // A file, or else the name of a further key.
        let name = key.to_str().filter(|_| !key.exists()).and_then(|name| name.parse().ok());
        let named = name.map(|name| home.named_path(&name)).filter(|path| path.exists());
        return Wallet::open_key(named.as_deref().unwrap_or(key), &home);
    }
    let (wallet, origin) = Wallet::open_or_make(&home)?;
    if origin == Origin::Made {
        context.screen.note(format_args!("made a new key at {}", home.key_path().display()));
    }
    Ok(wallet)
}

fn cannot(verb: &str, path: &Path, error: io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        anyhow::Error::new(error).context(format!("cannot {verb} {}", path.display())),
    )
}

fn damaged(path: &Path) -> Failure {
    Failure::said(Exit::Data, format!("{} is not a key: expected 64 hex digits", path.display()))
}

#[cfg(unix)]
fn refuse_if_readable_by_others(path: &Path, facts: &fs::Metadata) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = facts.permissions().mode() & 0o777;
    // Any bit for group or others, as ssh does it.
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::said(
        Exit::Denied,
        format!("others can read the key {} (mode {mode:03o})", path.display()),
    )
    .advise(format!("chmod 600 {}", path.display())))
}

#[cfg(not(unix))]
fn refuse_if_readable_by_others(_: &Path, _: &fs::Metadata) -> Result<(), Failure> {
    // The profile folder is private by its inherited access list.
    Ok(())
}

/// Writes a fresh key beside its final name, synced, then links it there: the name never shows half a key and
/// an existing key is never replaced.
fn write_new_key(path: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_private_folder(folder)?;
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    let text = zeroize::Zeroizing::new(format!("{}\n", hex(&secret)));
    zeroize::Zeroize::zeroize(&mut secret);
    let draft = folder.join(format!(".draft.key.{}", std::process::id()));
    let linked = write_private(&draft, text.as_bytes()).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    linked?;
    removed?;
    sync_folder(folder)
}

impl std::str::FromStr for KeyName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_plain) {
            return Err("a name of 1 to 64 of a-z 0-9 -");
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Makes a folder, and those above it, that only its owner can enter.
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes a file that only its owner can read, and syncs it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts a private file in place of the one before it: the old bytes or the new, never a mixture, and durable.
pub(super) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".draft.{}", std::process::id()));
    write_private(Path::new(&draft), bytes)?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    // A folder cannot be opened as a file on Windows, where renames are journalled by the file system.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("a/b"));
        (folder, home)
    }

    #[test]
    fn a_key_is_made_once_and_found_afterwards() {
        let (_folder, home) = fresh();
        let (made, origin) = Wallet::open_or_make(&home).unwrap();
        assert_eq!(origin, Origin::Made);
        let (found, origin) = Wallet::open_or_make(&home).unwrap();
        assert_eq!((found.public(), origin), (made.public(), Origin::Found));
        let refused = Wallet::make(&home).unwrap_err();
        assert!(refused.sentence().contains("already a key"), "{}", refused.sentence());
        assert_eq!(Wallet::open(&home).unwrap().public(), made.public());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_private_and_is_not_used_when_it_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, home) = fresh();
        Wallet::make(&home).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&home.key_path()), mode(home.path())), (0o600, 0o700));
        fs::set_permissions(home.key_path(), fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Wallet::open(&home).unwrap_err();
        assert_eq!(refused.exit(), Exit::Denied);
        assert!(refused.advice().unwrap().starts_with("chmod 600 "));
    }

    #[test]
    fn a_damaged_key_is_named_and_not_replaced() {
        for text in ["", "zz", &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
            let (_folder, home) = fresh();
            make_private_folder(home.path()).unwrap();
            write_private(&home.key_path(), text.as_bytes()).unwrap();
            assert_eq!(Wallet::open_or_make(&home).unwrap_err().exit(), Exit::Data, "{text:?}");
            assert_eq!(fs::read(home.key_path()).unwrap(), text.as_bytes());
        }
    }
}
