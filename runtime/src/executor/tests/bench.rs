//! What the tests run guests with.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use talea_ledger::id::{BodyId, FunctionId, NetworkId, ProfileId};
use talea_ledger::input::Input;
use talea_ledger::message::{Headers, Method, Path, Query, arguments};
use talea_ledger::price::Price;
use talea_ledger::profile;
use talea_ledger::run::Run;
use talea_ledger::units::{Fuel, Pages, Tal, UnixNanos};

use crate::executor::*;

/// Functions in memory, and how often they were asked for.
#[derive(Default)]
pub(super) struct Library {
    functions: Mutex<HashMap<FunctionId, Vec<u8>>>,
    pub(super) asked: AtomicU64,
}

impl FunctionSource for Library {
    fn wasm(&self, function: FunctionId) -> io::Result<Option<Vec<u8>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.functions.lock().unwrap().get(&function).cloned())
    }
}

impl Library {
    pub(super) fn add(&self, wasm: &[u8]) -> FunctionId {
        let id = FunctionId::of(wasm);
        self.functions.lock().unwrap().insert(id, wasm.to_vec());
        id
    }
}

/// An executor over a library.
pub(super) struct Bench {
    pub(super) library: Arc<Library>,
    pub(super) executor: Arc<Executor>,
}

pub(super) fn config() -> ExecutorConfig {
    let mut config = ExecutorConfig::new(None, Compiler::InProcess, MacKey::new([7; 32]));
    // Enough for a test, and cheap to reserve.
    config.fast_slots = 32;
    config.exact_slots = 8;
    config
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ExecutorConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let library = Arc::new(Library::default());
        let source: Arc<dyn FunctionSource> = library.clone();
        let executor = Arc::new(Executor::new(config, source).unwrap());
        Self { library, executor }
    }

    /// Runs a guest once, and holds the same run in the exact variant against it.
    pub(super) async fn check(&self, call: &Call) -> Execution {
        self.library.add(&call.wasm);
        let execution = self.executor.run(call.invocation()).await.unwrap();
        assert_eq!(execution, call.rerun(), "fast and exact differ");
        let explained = call.explain();
        assert_eq!(explained.execution, execution, "explained differs");
        assert_eq!(explained.total, execution.fuel);
        execution
    }
}

/// One call, to be changed and then run.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) wasm: Vec<u8>,
    pub(super) args: Vec<&'static str>,
    pub(super) path: &'static str,
    pub(super) query: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
    pub(super) seed: [u8; 32],
    pub(super) limits: RunLimits,
    pub(super) cgi: bool,
}

pub(super) const CLOCK: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

pub(super) fn profile_id() -> ProfileId {
    profile::all()[0].0
}

impl Call {
    /// A call of the guest that this text is.
    pub(super) fn wat(text: &str) -> Self {
        Self::wasm(wat::parse_str(text).unwrap())
    }

    pub(super) fn wasm(wasm: Vec<u8>) -> Self {
        Self {
            wasm,
            args: Vec::new(),
            path: "",
            query: "",
            headers: Vec::new(),
            body: Vec::new(),
            seed: [9; 32],
            limits: RunLimits {
                fuel: Fuel(100_000_000),
                memory: Pages(256),
                output: 1 << 16,
                log: 1 << 16,
            },
            cgi: false,
        }
    }

    pub(super) fn input(&self) -> Input {
        Input {
            body_len: self.body.len() as u64,
            args: arguments(self.args.iter().copied()).unwrap(),
            body: BodyId::of(&self.body),
            path: Path::try_from(self.path).unwrap(),
            salt: None,
            query: Query::try_from(self.query).unwrap(),
            method: Method::try_from("POST").unwrap(),
            headers: Headers::of(self.headers.iter().copied()).unwrap(),
        }
    }

    pub(super) fn invocation(&self) -> Invocation {
        Invocation {
            function: FunctionId::of(&self.wasm),
            profile: profile_id(),
            input: self.input(),
            body: Bytes::from(self.body.clone()),
            clock: CLOCK,
            seed: self.seed,
            limits: self.limits,
            cgi: self.cgi,
            free: true,
        }
    }

    pub(super) fn order(&self) -> Run {
        Run {
            function: FunctionId::of(&self.wasm),
            input: self.input().id(),
            cgi: self.cgi,
            clock: CLOCK,
            input_len: self.body.len() as u64,
            network: NetworkId::DEVELOPMENT,
            payment: None,
            profile: profile_id(),
            seed: self.seed,
            price: Price { per_call: Tal(0), rate: 0, per_kib: Tal(0) },
            log_limit: self.limits.log,
            memory_limit: self.limits.memory,
            output_limit: self.limits.output,
            fuel_limit: self.limits.fuel,
        }
    }

    pub(super) fn rerun(&self) -> Execution {
        rerun(&self.wasm, &self.order(), &self.input(), Bytes::from(self.body.clone())).unwrap()
    }

    pub(super) fn explain(&self) -> Explanation {
        explain(&self.wasm, &self.order(), &self.input(), Bytes::from(self.body.clone())).unwrap()
    }
}

/// A handler with this body, and 1 page of memory; `$w` and `$l` are `output_write` and `log`.
pub(super) fn handler(items: &str, body: &str) -> Call {
    Call::wat(&format!(
        r#"(module
            (import "talea" "output_write" (func $w (param i32 i32) (result i32)))
            (import "talea" "log" (func $l (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            {items}
            (func (export "talea_handle") (result i32) {body}))"#
    ))
}
