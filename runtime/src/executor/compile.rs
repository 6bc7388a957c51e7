//! From wasm to an artefact, in a child process with bounds of its own.
//!
//! Invariants: compiling what a stranger sent is the one step whose time and memory the module
//! decides, so a node never does it in its own process; the child has a wall clock held by its
//! parent, and a processor and address space limit that it sets on itself before it reads a byte.
//! The child sees an empty environment, and talks over its standard streams only.
//!
//! # Format
//!
//! Request: variant (1 byte), length of the profile's id in text (1), the id, the module to the end.
//! Answer: status (1 byte: 0 done, 1 failed), length (8, little endian), then facts and code, or text.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use talea_ledger::id::ProfileId;
use talea_ledger::profile::{self, Profile};
use talea_meter::Variant;

use super::artefact::{Artefact, Facts};
use super::engine::{self, Purpose, Tier};
use super::{bounds, turns};
use crate::store::artefacts::ARTEFACT_LEN_MAX;

/// The hidden subcommand that a node starts itself with.
pub const COMPILE_WORKER: &str = "compile-worker";

/// Where modules are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// In a child: this program, with [`COMPILE_WORKER`] as its argument.
    Child(PathBuf),
    /// Here. For a tool that compiles what its own user chose, and for tests.
    InProcess,
}

/// Why there is no artefact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The child could not be started.
    #[error("the compiler could not be started: {0}")]
    Start(String),
    /// It took longer than its wall clock allows.
    #[error("compiling took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It ended without an answer: above its memory or processor limit, or killed.
    #[error("the compiler ended without an answer")]
    Died,
    /// It answered, and this is why it failed.
    #[error("compiling failed: {0}")]
    Failed(String),
}

impl Compiler {
    /// Compiles a variant of a module. Blocks for as long as that takes, at most `wall`.
    pub(super) fn compile(
        &self,
        wasm: &[u8],
        profile: &Profile,
        profile_id: ProfileId,
        variant: Variant,
        wall: Duration,
    ) -> Result<Artefact, CompileError> {
        match self {
            Self::InProcess => compile_here(wasm, profile, variant),
            Self::Child(program) => {
                let answer = ask_child(program, &request(wasm, profile_id, variant), wall)?;
                parse_answer(&answer)
            }
        }
    }
}

/// The engine tier that runs a variant.
pub(super) fn tier(variant: Variant) -> Tier {
    match variant {
        Variant::Fast => Tier::Fast,
        Variant::Exact | Variant::Explained => Tier::Exact,
    }
}

fn compile_here(
    wasm: &[u8],
    profile: &Profile,
    variant: Variant,
) -> Result<Artefact, CompileError> {
    let failed = |error: &dyn std::fmt::Display| CompileError::Failed(error.to_string());
    let metered = talea_meter::instrument(wasm, profile, variant).map_err(|e| failed(&e))?;
    let (engine, _) =
        engine::build(profile, tier(variant), Purpose::Compiling).map_err(|e| failed(&e))?;
    let code =
        engine.precompile_module(&metered.wasm).map_err(|e| failed(&format_args!("{e:#}")))?;
    if code.len() as u64 > ARTEFACT_LEN_MAX / 2 {
        return Err(CompileError::Failed("the code is larger than an artefact may be".into()));
    }
    let facts = Facts {
        static_fuel: metered.inspection.static_fuel,
        memory_pages: metered.inspection.memory_pages,
    };
    Ok(Artefact { facts, code })
}

// === The parent ===

fn request(wasm: &[u8], profile: ProfileId, variant: Variant) -> Vec<u8> {
    let profile = profile.to_string();
    let variant = match variant {
        Variant::Exact => 0,
        Variant::Fast => 1,
        Variant::Explained => 2,
    };
    // A CID in text is 59 bytes.
    let len = u8::try_from(profile.len()).unwrap_or(u8::MAX);
    [&[variant, len][..], profile.as_bytes(), wasm].concat()
}

fn ask_child(program: &Path, request: &[u8], wall: Duration) -> Result<Vec<u8>, CompileError> {
    let mut child = Command::new(program)
        .arg(COMPILE_WORKER)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| CompileError::Start(error.to_string()))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    // Both pipes have threads of their own: a child that neither reads nor writes blocks them, not
    // the clock. Killing it closes the pipes and ends both.
    let answer = thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(1);
        scope.spawn(move || {
            // A child that stops reading has failed, and says so or ends.
            let _ = stdin.map(|mut stdin| stdin.write_all(request));
        });
        scope.spawn(move || {
            let mut answer = Vec::new();
            let read = stdout.map(|out| out.take(ARTEFACT_LEN_MAX).read_to_end(&mut answer));
            let _ = sender.send(matches!(read, Some(Ok(_))).then_some(answer));
        });
        let answer = receiver.recv_timeout(wall);
        // Ended already, or to be ended now; in both cases it must be waited for.
        let _ = child.kill();
        let _ = child.wait();
        answer
    });
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(CompileError::Died),
        Err(_) => Err(CompileError::TooSlow(wall)),
    }
}

fn parse_answer(answer: &[u8]) -> Result<Artefact, CompileError> {
    let whole = || -> Option<(u8, &[u8])> {
        let (&status, rest) = answer.split_first()?;
        let (len, payload) = rest.split_first_chunk::<8>()?;
        (u64::from_le_bytes(*len) == payload.len() as u64).then_some((status, payload))
    };
    match whole() {
        Some((0, payload)) => {
            let (facts, code) = payload.split_at_checked(16).ok_or(CompileError::Died)?;
            let facts = Facts::from_bytes(facts).ok_or(CompileError::Died)?;
            Ok(Artefact { facts, code: code.to_vec() })
        }
        Some((_, text)) => Err(CompileError::Failed(String::from_utf8_lossy(text).into_owned())),
        None => Err(CompileError::Died),
    }
}

// === The child ===

/// The whole life of a compiler child: limits itself, reads a request from standard input, writes
/// the answer to standard output.
#[must_use]
pub fn compile_worker_main() -> ExitCode {
    limit_self();
    let answer = match serve() {
        Ok(artefact) => {
            let payload = [&artefact.facts.to_bytes()[..], &artefact.code].concat();
            [&[0][..], &(payload.len() as u64).to_le_bytes(), &payload].concat()
        }
        Err(error) => {
            let text = error.to_string();
            [&[1][..], &(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
        }
    };
    let mut out = io::stdout().lock();
    match out.write_all(&answer).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The parent is gone; nobody is left to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> Result<Artefact, CompileError> {
    let bad = || CompileError::Failed("not a request".into());
    let mut request = Vec::new();
    // Nothing longer than the bound of an artefact is a module.
    io::stdin().lock().take(ARTEFACT_LEN_MAX).read_to_end(&mut request).map_err(|_| bad())?;
    let (&[variant, len], rest) = request.split_first_chunk::<2>().ok_or_else(bad)?;
    let (id, wasm) = rest.split_at_checked(usize::from(len)).ok_or_else(bad)?;
    let variant = match variant {
        0 => Variant::Exact,
        1 => Variant::Fast,
        2 => Variant::Explained,
        _ => return Err(bad()),
    };
    let id: ProfileId =
        std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()).ok_or_else(bad)?;
    compile_here(wasm, profile::by_id(id).ok_or_else(bad)?, variant)
}

/// Bounds on this process, so that it ends even when its parent does not end it.
fn limit_self() {
    turns::work_steadily();
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limits = [
            (Resource::As, bounds::COMPILE_ADDRESS_SPACE),
            (Resource::Cpu, bounds::COMPILE_CPU_SECONDS),
            (Resource::Core, 0),
        ];
        for (resource, limit) in limits {
            // Refused only if a lower limit is set already, which is as good.
            let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (bounds::COMPILE_ADDRESS_SPACE, bounds::COMPILE_CPU_SECONDS);
}
