//! The front door: from bytes to a module that is valid, within bounds, and understood.
//!
//! Owns: validation, every bound of the profile, the rules on imports and exports, and the one walk
//! over each body in which validation and analysis go side by side.
//!
//! Invariants: a [`Module`] exists only for bytes that passed all of it; the first fault met in the
//! order of the bytes is the one reported, then what concerns the module as a whole. Custom sections
//! are not read, but for the names in the name section, which nothing depends on.

mod bounds;
mod names;

use talea_ledger::profile::{Features, HostCall, Profile};
use wasmparser::{
    DataSectionReader, ElementSectionReader, Encoding, ExternalKind, FuncToValidate, FuncType,
    FuncValidatorAllocations, FunctionBody, GlobalSectionReader, MemoryType, Parser, Payload,
    TableSectionReader, TypeRef, ValType, ValidPayload, Validator, ValidatorResources,
    WasmFeatures,
};

use crate::refusal::{Refusal, RefusalReason};
use crate::segment::{Analysis, Plan, Signatures};
use crate::weight::{Frame, Weight};
use crate::{
    ENTRY_COMMAND, ENTRY_HANDLER, ENTRY_INITIALIZE, FunctionFacts, Inspection, Kind,
    RESERVED_PREFIX,
};

/// A module that passed the front door.
#[derive(Debug, Default)]
pub(crate) struct Module<'a> {
    pub(crate) wasm: &'a [u8],
    pub(crate) types: Vec<FuncType>,
    /// Type index of every function, imports first.
    pub(crate) functions: Vec<u32>,
    pub(crate) imports: Vec<HostCall>,
    pub(crate) bodies: Vec<Body<'a>>,
    pub(crate) tables: Option<TableSectionReader<'a>>,
    pub(crate) memory: Option<MemoryType>,
    pub(crate) globals: Option<GlobalSectionReader<'a>>,
    pub(crate) elements: Option<ElementSectionReader<'a>>,
    pub(crate) data_count: Option<u32>,
    pub(crate) data: Option<DataSectionReader<'a>>,
    pub(crate) start: Option<u32>,
    pub(crate) command: Option<u32>,
    pub(crate) handler: Option<u32>,
    pub(crate) initialize: Option<u32>,
    counts: Counts,
    names: Vec<(u32, String)>,
}

/// A body and what the analysis found in it.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    pub(crate) body: FunctionBody<'a>,
    pub(crate) plan: Plan,
    pub(crate) weight: Weight,
    /// Declared locals, parameters not counted.
    pub(crate) locals: u32,
}

/// What the static charge is made of.
#[derive(Debug, Default)]
struct Counts {
    globals: u64,
    elements: u64,
    data_bytes: u64,
    tables: Vec<u64>,
}

/// Reads a module and checks all that can be checked without running it.
pub(crate) fn read<'a>(wasm: &'a [u8], profile: &Profile) -> Result<Module<'a>, Refusal> {
    let bytes = wasm.len() as u64;
    bounds::at_most(profile.bounds.module_bytes, bytes, "bytes of the module", None)?;
    if !wasm.starts_with(b"\0asm") {
        return Err(Refusal::new(RefusalReason::NotWasm, 0, "no wasm magic number"));
    }
    if !Parser::is_core_wasm(wasm) && wasm.len() >= 8 {
        let reason = if Parser::is_component(wasm) {
            RefusalReason::Component
        } else {
            RefusalReason::NotWasm
        };
        return Err(Refusal::new(reason, 4, "not version 1 of a core module"));
    }
    let module = walk(wasm, profile).map_err(|refusal| name_feature(refusal, wasm))?;
    module.check_entries()?;
    Ok(module)
}

/// Tells a module that is wrong from one that is only ahead of the profile.
fn name_feature(refusal: Refusal, wasm: &[u8]) -> Refusal {
    if refusal.reason != RefusalReason::Invalid {
        return refusal;
    }
    match Validator::new_with_features(WasmFeatures::all()).validate_all(wasm) {
        Ok(_) => Refusal { reason: RefusalReason::ForbiddenFeature, ..refusal },
        Err(_) => refusal,
    }
}

fn walk<'a>(wasm: &'a [u8], profile: &Profile) -> Result<Module<'a>, Refusal> {
    let features = features(profile.features);
    let mut validator = Validator::new_with_features(features);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut module = Module { wasm, ..Module::default() };
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        bounds::check_section(&payload, profile)?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                allocations = module.take_body(profile, function, body, allocations)?;
            }
            _ => module.take_section(payload, profile)?,
        }
    }
    Ok(module)
}

/// The profile's features in the validator's words. `GC_TYPES` stays off: it would let `externref` in.
fn features(allowed: Features) -> WasmFeatures {
    let table = [
        (Features::MUTABLE_GLOBAL, WasmFeatures::MUTABLE_GLOBAL),
        (Features::SATURATING_FLOAT_TO_INT, WasmFeatures::SATURATING_FLOAT_TO_INT),
        (Features::SIGN_EXTENSION, WasmFeatures::SIGN_EXTENSION),
        (
            Features::REFERENCE_TYPES,
            WasmFeatures::REFERENCE_TYPES.union(WasmFeatures::CALL_INDIRECT_OVERLONG),
        ),
        (Features::MULTI_VALUE, WasmFeatures::MULTI_VALUE),
        (Features::BULK_MEMORY, WasmFeatures::BULK_MEMORY.union(WasmFeatures::BULK_MEMORY_OPT)),
        (Features::SIMD, WasmFeatures::SIMD),
        (Features::EXTENDED_CONST, WasmFeatures::EXTENDED_CONST),
        (Features::FLOATS, WasmFeatures::FLOATS),
    ];
    table
        .into_iter()
        .filter(|(ours, _)| allowed.contains(*ours))
        .fold(WasmFeatures::empty(), |all, (_, theirs)| all | theirs)
}

// === impl Module ===

impl<'a> Module<'a> {
    /// How many functions are imported.
    pub(crate) fn imported(&self) -> u32 {
        u32::try_from(self.imports.len()).expect("imports are bounded")
    }

    /// The type of a function, by its index.
    pub(crate) fn type_of(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// The module's entry, by kind.
    pub(crate) fn entry(&self) -> (Kind, u32) {
        match (self.command, self.handler) {
            (Some(function), _) => (Kind::Command, function),
            (None, Some(function)) => (Kind::Handler, function),
            (None, None) => unreachable!("the front door refuses a module without entry"),
        }
    }

    /// What can be told without running it.
    pub(crate) fn inspection(&self, profile: &Profile) -> Inspection {
        let imported = self.imported();
        let mut functions: Vec<FunctionFacts> = self
            .bodies
            .iter()
            .zip(imported..)
            .map(|(body, index)| FunctionFacts { index, name: None, weight: body.weight })
            .collect();
        for (index, name) in &self.names {
            let place = index.checked_sub(imported).map(|defined| defined as usize);
            if let Some(facts) = place.and_then(|place| functions.get_mut(place)) {
                facts.name = Some(name.clone());
            }
        }
        Inspection {
            kind: self.entry().0,
            static_fuel: self.static_fuel(profile),
            has_memory: self.memory.is_some(),
            memory_pages: self.memory.map_or(0, |memory| memory.initial),
            memory_pages_max: self.memory.and_then(|memory| memory.maximum),
            tables: self.counts.tables.clone(),
            has_initialize: self.initialize.is_some(),
            has_start: self.start.is_some(),
            has_floats: self.bodies.iter().any(|body| body.plan.floats),
            imports: self.imports.iter().map(|call| (call.module, call.name)).collect(),
            functions,
        }
    }

    /// Every term is bounded: counts by the profile's bounds, prices by their own smallness.
    fn static_fuel(&self, profile: &Profile) -> u64 {
        let rule = &profile.fixed;
        let kib = |bytes: u64, price: u64| (bytes * price).div_ceil(1024);
        rule.flat
            + kib(self.wasm.len() as u64, rule.module_per_kib)
            + kib(self.counts.data_bytes, rule.data_per_kib)
            + self.counts.elements * rule.per_element
            + self.memory.map_or(0, |memory| memory.initial) * rule.per_page
            + self.counts.tables.iter().sum::<u64>() * rule.per_table_entry
            + self.counts.globals * rule.per_global
    }

    fn take_section(&mut self, payload: Payload<'a>, profile: &Profile) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding: Encoding::Component, range, .. } => {
                return Err(Refusal::new(RefusalReason::Component, range.start, "a component"));
            }
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    self.types.push(ty?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.take_import(offset, &import, profile)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    self.counts.tables.push(table?.ty.initial);
                }
                self.tables = Some(section);
            }
            Payload::MemorySection(section) => {
                self.memory = section.into_iter().next().transpose()?;
            }
            Payload::GlobalSection(section) => {
                self.counts.globals = u64::from(section.count());
                self.globals = Some(section);
            }
            Payload::ExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.take_export(offset, &export)?;
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                self.counts.elements = bounds::elements(&section)?;
                self.elements = Some(section);
            }
            Payload::DataCountSection { count, .. } => self.data_count = Some(count),
            Payload::DataSection(section) => {
                self.counts.data_bytes = bounds::data_bytes(&section)?;
                self.data = Some(section);
            }
            Payload::CustomSection(section) => names::take(&section, &mut self.names),
            _ => {}
        }
        Ok(())
    }

    fn take_import(
        &mut self,
        offset: usize,
        import: &wasmparser::Import<'_>,
        profile: &Profile,
    ) -> Result<(), Refusal> {
        let name = format!("{}.{}", import.module, import.name);
        let TypeRef::Func(ty) = import.ty else {
            let detail = format!("{name} is not a function");
            return Err(Refusal::new(RefusalReason::ImportKind, offset, detail));
        };
        let Some(call) = profile.host_call(import.module, import.name) else {
            return Err(Refusal::new(RefusalReason::UnknownImport, offset, name));
        };
        let signature = &self.types[ty as usize];
        if !matches_signature(signature, call.signature) {
            let detail = format!("{name} is {}, not {signature}", call.signature);
            return Err(Refusal::new(RefusalReason::ImportSignature, offset, detail));
        }
        self.functions.push(ty);
        self.imports.push(*call);
        Ok(())
    }

    fn take_export(
        &mut self,
        offset: usize,
        export: &wasmparser::Export<'_>,
    ) -> Result<(), Refusal> {
        if export.name.starts_with(RESERVED_PREFIX) {
            return Err(Refusal::new(RefusalReason::ReservedExport, offset, export.name));
        }
        let (slot, results): (_, &[ValType]) = match export.name {
            ENTRY_COMMAND => (&mut self.command, &[]),
            ENTRY_HANDLER => (&mut self.handler, &[ValType::I32]),
            ENTRY_INITIALIZE => (&mut self.initialize, &[]),
            _ => return Ok(()),
        };
        *slot = Some(export.index);
        let defined = export.index as usize >= self.imports.len();
        let fits = export.kind == ExternalKind::Func && defined && {
            let ty = &self.types[self.functions[export.index as usize] as usize];
            ty.params().is_empty() && ty.results() == results
        };
        if !fits {
            let result = if results.is_empty() { "nothing" } else { "i32" };
            let detail = format!("{} must be a function of its own () -> {result}", export.name);
            return Err(Refusal::new(RefusalReason::EntrySignature, offset, detail));
        }
        Ok(())
    }

    fn check_entries(&self) -> Result<(), Refusal> {
        match (self.command, self.handler) {
            (None, None) => Err(Refusal::new(
                RefusalReason::NoEntry,
                None,
                format!("exports neither {ENTRY_COMMAND} nor {ENTRY_HANDLER}"),
            )),
            (Some(_), Some(_)) => Err(Refusal::new(
                RefusalReason::TwoEntries,
                None,
                format!("exports both {ENTRY_COMMAND} and {ENTRY_HANDLER}"),
            )),
            _ => Ok(()),
        }
    }

    fn take_body(
        &mut self,
        profile: &Profile,
        function: FuncToValidate<ValidatorResources>,
        body: FunctionBody<'a>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Refusal> {
        let start = body.range().start;
        let signatures = Signatures {
            types: &self.types,
            functions: &self.functions,
            imported: self.imported(),
        };
        let ty = &self.types[self.functions[function.index as usize] as usize];
        let mut validator = function.into_validator(allocations);
        let mut reader = body.get_binary_reader();
        reader.set_features(*validator.features());
        let mut frame = Frame::default();
        frame.signature(ty);
        let mut locals = 0u64;
        for _ in 0..reader.read_var_u32()? {
            let offset = reader.original_position();
            let (count, local): (u32, ValType) = (reader.read()?, reader.read()?);
            validator.define_locals(offset, count, local)?;
            frame.values(u64::from(count), local);
            locals += u64::from(count);
            bounds::at_most(profile.bounds.locals, locals, "locals of a function", offset)?;
        }
        let all_locals = locals + ty.params().len() as u64;
        bounds::at_most(profile.bounds.locals, all_locals, "locals of a function", start)?;
        let code = reader.original_position()..body.range().end;
        let mut analysis = Analysis::new(profile, signatures, frame, locals, code);
        while !reader.eof() {
            let offset = reader.original_position();
            let operator = reader.peek_operator(&validator.visitor(offset))?;
            reader.visit_operator(&mut validator.visitor(offset))??;
            let next = reader.original_position();
            bounds::check_operator(&operator, &validator, profile, offset)?;
            let bytes = &self.wasm[offset..next];
            analysis.take(&operator, bytes, next, validator.operand_stack_height());
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        let plan = analysis.finish();
        let weight = bounds::check_plan(&plan, all_locals, profile, start)?;
        let locals = u32::try_from(locals).expect("locals are bounded");
        self.bodies.push(Body { body, plan, weight, locals });
        Ok(validator.into_allocations())
    }
}

/// Whether a type is what a signature text says: `i` = i32, `I` = i64, results after the colon.
fn matches_signature(ty: &FuncType, signature: &str) -> bool {
    let letters = ty.params().iter().map(|ty| letter(*ty)).chain([':']);
    letters.chain(ty.results().iter().map(|ty| letter(*ty))).eq(signature.chars())
}

fn letter(ty: ValType) -> char {
    match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
        _ => '?',
    }
}
