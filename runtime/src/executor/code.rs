//! Compiled code on its way from a file to the engine.
//!
//! Owns: where it is put while its MAC is checked. Invariant: what the engine is handed is what was written here; nobody
//! can change it in between, whoever may write the file that it came from. Absent: whether it is to be believed.
//!
//! On Linux that is a file in memory, sealed: the engine maps it, so that the code is copied once and only pages that
//! run are looked at. Where such a file cannot be had it is a piece of memory, which the engine copies.

use std::fs::File;
use std::io::{self, Write};

use wasmtime::{Engine, Module};

/// Code that is being written.
#[derive(Debug)]
pub(super) enum Code {
    Sealable(File),
    Bytes(Vec<u8>),
}

impl Code {
    /// An empty one.
    pub(super) fn new() -> Self {
        in_memory().map_or_else(|_| Self::Bytes(Vec::new()), Self::Sealable)
    }

    /// Loads what was written.
    ///
    /// # Safety
    ///
    /// It is what wasmtime made for this engine, as [`Module::deserialize`] asks for.
    #[allow(unsafe_code, reason = "code that was compiled before can only be loaded so")]
    pub(super) unsafe fn load(self, engine: &Engine) -> wasmtime::Result<Module> {
        match self {
            Self::Sealable(file) => {
                seal(&file)?;
                // SAFETY: the caller's word; sealed, the file stays what it is.
                unsafe { Module::deserialize_open_file(engine, file) }
            }
            // SAFETY: the caller's word.
            Self::Bytes(bytes) => unsafe { Module::deserialize(engine, bytes) },
        }
    }
}

impl Write for Code {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Sealable(file) => file.write(bytes),
            Self::Bytes(all) => all.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn in_memory() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(memfd_create("talea-code", flags)?))
}

#[cfg(target_os = "linux")]
fn seal(file: &File) -> io::Result<()> {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    Ok(fcntl_add_seals(file, all)?)
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn seal(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_sealed_can_be_neither_written_nor_cut() {
        let mut file = in_memory().unwrap();
        file.write_all(b"code").unwrap();
        seal(&file).unwrap();
        assert!(file.write_all(b"more").is_err());
        assert!(file.set_len(1).is_err());
        assert_eq!(file.metadata().unwrap().len(), 4);
    }
}
