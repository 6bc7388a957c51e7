//! The module around the rewritten bodies.
//!
//! Owns: the order of everything in the output, the wrappers, and what is exported.
//!
//! # Index spaces
//!
//! ```text
//! types      the module's T types | the same with an i64 added to parameters and results | (i32) -> ()
//!            | one type per original type with several results, for blocks
//! functions  imports 0..I | slice | stop | the module's own | a relay each of slice and stop
//!            | exact: a wrapper per import, then wrappers of start, _initialize and the entry
//! globals    the module's own | depth i32 | exact: fuel i64 | explained: one i64 per own function
//! elements   the module's own | one declarative segment of all functions that bodies take references
//!            of (the exports that declared them are gone)
//! ```
//!
//! Adding one i64 at the end of both lists maps different types to different types and equal ones to
//! equal ones, so a call through a table succeeds exactly when it did.

use std::collections::BTreeSet;

use talea_ledger::profile::Profile;
use wasm_encoder::reencode::Reencode;
use wasm_encoder::{
    BranchHints, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, MemorySection, TableSection, TypeSection, ValType,
};
use wasmparser::{FuncType, Operator};

use crate::body::{self, Places, value_type};
use crate::front::Module;
use crate::refusal::{Refusal, RefusalReason};
use crate::{
    ENTRY_COMMAND, ENTRY_HANDLER, ENTRY_INITIALIZE, EXPORT_FUEL, EXPORT_MEMORY, EXPORT_START, Kind,
    METER_MODULE, METER_SLICE, METER_STOP, Variant,
};

/// Writes the metered module.
pub(crate) fn write(
    module: &Module<'_>,
    profile: &Profile,
    variant: Variant,
) -> Result<Vec<u8>, Refusal> {
    let (types, places) = types(module, variant);
    let doors = doors(module);
    let mut out = wasm_encoder::Module::new();
    out.section(&types);
    out.section(&imports(module, &places));
    out.section(&functions(module, &places, &doors));
    let mut renumber = Renumber(&places);
    if let Some(section) = &module.tables {
        let mut tables = TableSection::new();
        renumber.parse_table_section(&mut tables, section.clone()).map_err(refuse)?;
        out.section(&tables);
    }
    if let Some(memory) = module.memory {
        let mut memories = MemorySection::new();
        memories.memory(renumber.memory_type(memory).map_err(refuse)?);
        out.section(&memories);
    }
    out.section(&globals(module, &places, &mut renumber)?);
    out.section(&exports(module, &places, &doors));
    out.section(&elements(module, &mut renumber)?);
    if let Some(count) = module.data_count {
        out.section(&DataCountSection { count });
    }
    let (code, hints) = code(module, profile, &places, &doors)?;
    out.section(&hints);
    out.section(&code);
    if let Some(section) = &module.data {
        let mut data = DataSection::new();
        renumber.parse_data_section(&mut data, section.clone()).map_err(refuse)?;
        out.section(&data);
    }
    Ok(out.finish())
}

/// The functions that the host calls, under their export names.
fn doors(module: &Module<'_>) -> Vec<(&'static str, u32)> {
    let (kind, entry) = module.entry();
    let name = match kind {
        Kind::Command => ENTRY_COMMAND,
        Kind::Handler => ENTRY_HANDLER,
    };
    let start = module.start.map(|function| (EXPORT_START, function));
    let initialize = module.initialize.map(|function| (ENTRY_INITIALIZE, function));
    start.into_iter().chain(initialize).chain([(name, entry)]).collect()
}

fn types(module: &Module<'_>, variant: Variant) -> (TypeSection, Places) {
    let mut types = TypeSection::new();
    let convert = |list: &[wasmparser::ValType]| -> Vec<ValType> {
        list.iter().map(|ty| value_type(*ty)).collect()
    };
    for ty in &module.types {
        types.ty().function(convert(ty.params()), convert(ty.results()));
    }
    let augmented = types.len();
    let with_counter = |list: &[wasmparser::ValType]| {
        let mut list = convert(list);
        list.push(ValType::I64);
        list
    };
    for ty in &module.types {
        types.ty().function(with_counter(ty.params()), with_counter(ty.results()));
    }
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::I64], [ValType::I64]);
    let mut result_blocks = Vec::with_capacity(module.types.len());
    for ty in &module.types {
        let several = ty.results().len() > 1;
        result_blocks.push(several.then(|| types.len()));
        if several {
            types.ty().function([], convert(ty.results()));
        }
    }
    let imported = module.imported();
    let own = u32::try_from(module.bodies.len()).expect("functions are bounded");
    let depth = module.globals.as_ref().map_or(0, |globals| globals.count());
    let places = Places {
        variant,
        imported,
        slice: imported,
        stop: imported + 1,
        grant: imported + 2 + own,
        halt: imported + 3 + own,
        wrappers: imported + 4 + own,
        augmented,
        result_blocks,
        fuel: depth + 1,
        depth,
        lines: depth + 2,
    };
    (types, places)
}

fn imports(module: &Module<'_>, places: &Places) -> ImportSection {
    let mut imports = ImportSection::new();
    for (call, ty) in module.imports.iter().zip(&module.functions) {
        imports.import(call.module, call.name, EntityType::Function(places.augmented + ty));
    }
    let stop = places.stop_type();
    imports.import(METER_MODULE, METER_SLICE, EntityType::Function(stop + 1));
    imports.import(METER_MODULE, METER_STOP, EntityType::Function(stop));
    imports
}

fn functions(
    module: &Module<'_>,
    places: &Places,
    doors: &[(&'static str, u32)],
) -> FunctionSection {
    let mut functions = FunctionSection::new();
    let (imported, own) = module.functions.split_at(places.imported as usize);
    let is_fast = places.variant == Variant::Fast;
    let shift = if is_fast { places.augmented } else { 0 };
    own.iter().for_each(|ty| _ = functions.function(shift + ty));
    functions.function(places.stop_type() + 1);
    functions.function(places.stop_type());
    if is_fast {
        return functions;
    }
    imported.iter().for_each(|ty| _ = functions.function(*ty));
    for (_, function) in doors {
        functions.function(places.augmented + module.functions[*function as usize]);
    }
    functions
}

fn globals(
    module: &Module<'_>,
    places: &Places,
    renumber: &mut Renumber<'_>,
) -> Result<GlobalSection, Refusal> {
    let mut globals = GlobalSection::new();
    if let Some(section) = &module.globals {
        renumber.parse_global_section(&mut globals, section.clone()).map_err(refuse)?;
    }
    let variable = |val_type| GlobalType { val_type, mutable: true, shared: false };
    globals.global(variable(ValType::I32), &ConstExpr::i32_const(0));
    if places.variant != Variant::Fast {
        globals.global(variable(ValType::I64), &ConstExpr::i64_const(0));
    }
    if places.variant == Variant::Explained {
        for _ in &module.bodies {
            globals.global(variable(ValType::I64), &ConstExpr::i64_const(0));
        }
    }
    Ok(globals)
}

fn exports(module: &Module<'_>, places: &Places, doors: &[(&'static str, u32)]) -> ExportSection {
    let mut exports = ExportSection::new();
    if module.memory.is_some() {
        exports.export(EXPORT_MEMORY, ExportKind::Memory, 0);
    }
    for (index, (name, function)) in doors.iter().enumerate() {
        let function = if places.variant == Variant::Fast {
            places.function(*function)
        } else {
            places.door(index)
        };
        exports.export(name, ExportKind::Func, function);
    }
    if places.variant != Variant::Fast {
        exports.export(EXPORT_FUEL, ExportKind::Global, places.fuel);
    }
    if places.variant == Variant::Explained {
        for (function, line) in (places.imported..).zip(places.lines..).take(module.bodies.len()) {
            exports.export(&format!("{EXPORT_FUEL}:{function}"), ExportKind::Global, line);
        }
    }
    exports
}

fn elements(module: &Module<'_>, renumber: &mut Renumber<'_>) -> Result<ElementSection, Refusal> {
    let mut elements = ElementSection::new();
    if let Some(section) = &module.elements {
        renumber.parse_element_section(&mut elements, section.clone()).map_err(refuse)?;
    }
    let referenced = referenced(module, renumber.0)?;
    if !referenced.is_empty() {
        let list: Vec<u32> = referenced.into_iter().collect();
        elements.declared(Elements::Functions(list.into()));
    }
    Ok(elements)
}

/// Every function that a body takes a reference of, by its place in the output.
fn referenced(module: &Module<'_>, places: &Places) -> Result<BTreeSet<u32>, Refusal> {
    let mut referenced = BTreeSet::new();
    for body in module.bodies.iter().filter(|body| body.plan.references) {
        for operator in body.body.get_operators_reader()? {
            if let Operator::RefFunc { function_index } = operator? {
                referenced.insert(places.function(function_index));
            }
        }
    }
    Ok(referenced)
}

fn code(
    module: &Module<'_>,
    profile: &Profile,
    places: &Places,
    doors: &[(&'static str, u32)],
) -> Result<(CodeSection, BranchHints), Refusal> {
    let (mut code, mut hints) = (CodeSection::new(), BranchHints::new());
    for (body, function) in module.bodies.iter().zip(places.imported..) {
        let rewritten = body::write(module, body, function, places, profile)?;
        code.raw(&rewritten.code);
        hints.function_hints(places.function(function), rewritten.hints);
    }
    code.function(&relay(places.slice));
    code.function(&relay(places.stop));
    if places.variant == Variant::Fast {
        return Ok((code, hints));
    }
    for import in 0..places.imported {
        code.function(&import_wrapper(import, module.type_of(import), places));
    }
    for (_, function) in doors {
        code.function(&door_wrapper(*function, places));
    }
    Ok((code, hints))
}

/// Calls a function with its one parameter.
fn relay(function: u32) -> Function {
    let mut relay = Function::new([]);
    relay.instructions().local_get(0).call(function).end();
    relay
}

/// `(P..) -> (R..)` that hands the counter to the host and takes it back.
fn import_wrapper(import: u32, ty: &FuncType, places: &Places) -> Function {
    let mut wrapper = Function::new([]);
    let mut sink = wrapper.instructions();
    for (param, _) in (0u32..).zip(ty.params()) {
        sink.local_get(param);
    }
    sink.global_get(places.fuel).call(import).global_set(places.fuel).end();
    wrapper
}

/// `(i64) -> (R.., i64)` that takes the counter from the host and hands it back.
fn door_wrapper(function: u32, places: &Places) -> Function {
    let mut wrapper = Function::new([]);
    let mut sink = wrapper.instructions();
    sink.local_get(0).global_set(places.fuel);
    sink.call(places.function(function)).global_get(places.fuel).end();
    wrapper
}

/// Every index but a function's is the same in the output.
struct Renumber<'a>(&'a Places);

impl Reencode for Renumber<'_> {
    type Error = std::convert::Infallible;

    fn function_index(
        &mut self,
        function: u32,
    ) -> Result<u32, wasm_encoder::reencode::Error<Self::Error>> {
        Ok(self.0.function(function))
    }
}

/// What the encoder cannot write, validation would not have let pass; still no reason to panic.
fn refuse(error: wasm_encoder::reencode::Error) -> Refusal {
    Refusal::new(RefusalReason::Invalid, None, error.to_string())
}

// === impl Places ===

impl Places {
    /// The type of `stop`; that of `slice` follows it.
    fn stop_type(&self) -> u32 {
        2 * self.augmented
    }

    /// The wrapper of a door (exact variants).
    fn door(&self, index: usize) -> u32 {
        self.wrappers + self.imported + u32::try_from(index).expect("at most three doors")
    }
}
