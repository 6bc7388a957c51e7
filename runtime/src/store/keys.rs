//! Secret files of the node: 32 random bytes each, made once, readable by the node's own user only.
//!
//! Durability: a new secret is on the disk, under its name, before anything is signed with it; otherwise a
//! node could come back as somebody else than its receipts say.
//! Invariant: a secret that others may read is refused rather than used.
//! Absent: passphrases and hardware. What the bytes are for is the caller's business.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use talea_ledger::SecretKey;
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a secret cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The disk did not answer, or the system gave no randomness.
    #[error("the secret file {path} could not be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error(
        "the secret file {0} is open to others: `chmod 600` it, and replace it if anybody may have read it"
    )]
    Open(PathBuf),
    /// It does not hold 32 bytes as 64 hexadecimal digits.
    #[error("the secret file {0} does not hold 64 hexadecimal digits")]
    Malformed(PathBuf),
}

/// Reads the key of a file, or makes one. The flag says whether it was made now.
pub fn load_or_create(path: &Path) -> Result<(SecretKey, bool), KeyError> {
    let (secret, is_new) = secret(path)?;
    Ok((SecretKey::from_bytes(&secret), is_new))
}

/// Reads 32 secret bytes of a file, or makes them. The flag says whether they were made now.
pub fn secret(path: &Path) -> Result<(Zeroizing<[u8; 32]>, bool), KeyError> {
    let io = |source| KeyError::Io { path: path.into(), source };
    match File::open(path) {
        Ok(file) => Ok((read(file, path)?, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *secret).map_err(|error| io(error.into()))?;
            create(path, &secret).map_err(io)?;
            Ok((secret, true))
        }
        Err(error) => Err(io(error)),
    }
}

fn read(file: File, path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let io = |source| KeyError::Io { path: path.into(), source };
    let mode = file.metadata().map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Open(path.into()));
    }
    // 64 digits and a newline; one byte more shows that there is more.
    let mut text = Zeroizing::new(Vec::with_capacity(66));
    file.take(66).read_to_end(&mut text).map_err(io)?;
    decode(text.trim_ascii_end()).ok_or_else(|| KeyError::Malformed(path.into()))
}

fn decode(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 64 {
        return None;
    }
    let mut secret = Zeroizing::new([0; 32]);
    for (byte, digits) in secret.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(secret)
}

/// The name appears only when the whole secret is durable.
fn create(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in secret {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let draft = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    // A draft that was left behind keeps the mode it had.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Not a rename: a secret that appeared meanwhile must not be replaced.
    fs::hard_link(&draft, path)?;
    fs::remove_file(&draft)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (made, is_new) = secret(&path).unwrap();
        assert!(is_new);
        assert_eq!(secret(&path).unwrap(), (made, false));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        secret(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(secret(&path), Err(KeyError::Open(_))));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let z = "z".repeat(64);
        let long = "0".repeat(65);
        for text in ["", "00", z.as_str(), long.as_str()] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(secret(&path), Err(KeyError::Malformed(_))), "{text}");
        }
    }
}
