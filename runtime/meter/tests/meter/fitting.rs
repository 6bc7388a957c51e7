//! Makes a function of Talea of any module without imports: adds imports and an entry that calls
//! everything.
//!
//! The entry calls each function with small constants and tells the host every i32 that comes back, so
//! that what functions compute is seen. Every third function begins with a host call of its own.
//! Between `eqz` and `select` two instructions are put that change nothing: the interpreter, in version
//! 2.0.0, answers the pair wrongly when it stands alone (`guest_view` has the case).

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    Module, SectionId, TypeSection, ValType,
};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// The imports, in order, with their types.
const IMPORTS: u32 = 4;
const YIELD: u32 = 0;
const CLOCK: u32 = 1;
const LOG: u32 = 2;
const EXIT: u32 = 3;

/// Nothing, if the module has no functions.
pub(crate) fn fit(wasm: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut fitting = Fitting { seed, ..Fitting::default() };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                fitting.types = section.into_iter_err_on_gc_types().map(Result::unwrap).collect();
            }
            Payload::FunctionSection(section) => {
                fitting.functions = section.into_iter().map(Result::unwrap).collect();
            }
            Payload::MemorySection(section) => fitting.has_memory = section.count() > 0,
            _ => {}
        }
    }
    if fitting.functions.is_empty() {
        return None;
    }
    let mut module = Module::new();
    fitting.parse_core_module(&mut module, Parser::new(0), wasm).unwrap();
    Some(module.finish())
}

#[derive(Default)]
struct Fitting {
    seed: u64,
    types: Vec<wasmparser::FuncType>,
    functions: Vec<u32>,
    has_memory: bool,
    has_imports: bool,
    has_exports: bool,
    written: u32,
}

impl Fitting {
    fn handler(&self) -> bool {
        self.seed % 2 == 1
    }

    fn added_types(&self) -> u32 {
        u32::try_from(self.types.len()).unwrap()
    }

    fn imports(&self) -> ImportSection {
        let first = self.added_types();
        let mut imports = ImportSection::new();
        let wasi = "wasi_snapshot_preview1";
        imports.import(wasi, "sched_yield", EntityType::Function(first));
        imports.import("talea", "clock_ns", EntityType::Function(first + 1));
        imports.import("talea", "log", EntityType::Function(first + 2));
        imports.import(wasi, "proc_exit", EntityType::Function(first + 3));
        imports
    }

    fn exports(&self) -> ExportSection {
        let mut exports = ExportSection::new();
        self.add_exports(&mut exports);
        exports
    }

    fn add_exports(&self, exports: &mut ExportSection) {
        let name = if self.handler() { "talea_handle" } else { "_start" };
        let entry = IMPORTS + u32::try_from(self.functions.len()).unwrap();
        exports.export(name, ExportKind::Func, entry);
        if self.has_memory {
            exports.export("memory", ExportKind::Memory, 0);
        }
    }

    fn entry(&self) -> Function {
        let mut entry = Function::new([(1, ValType::I32)]);
        let mut sink = entry.instructions();
        for (function, ty) in (IMPORTS..).zip(&self.functions) {
            let ty = &self.types[*ty as usize];
            for (place, param) in (1..).zip(ty.params()) {
                match param {
                    wasmparser::ValType::I32 => _ = sink.i32_const(place),
                    wasmparser::ValType::I64 => _ = sink.i64_const(i64::from(place)),
                    wasmparser::ValType::F32 => _ = sink.f32_const(1.5.into()),
                    wasmparser::ValType::F64 => _ = sink.f64_const(2.5.into()),
                    wasmparser::ValType::V128 => _ = sink.v128_const(7),
                    wasmparser::ValType::Ref(ty) => {
                        _ = sink.ref_null(ty.heap_type().try_into().unwrap());
                    }
                }
            }
            sink.call(function);
            for result in ty.results().iter().rev() {
                if *result == wasmparser::ValType::I32 {
                    sink.local_set(0).local_get(0).i32_const(0).i32_const(0).call(LOG).drop();
                } else {
                    sink.drop();
                }
            }
            if self.seed.is_multiple_of(11) {
                sink.call(YIELD).i32_const(1).i32_and().if_(wasm_encoder::BlockType::Empty);
                sink.i32_const(3).call(EXIT).end();
            }
        }
        if self.handler() {
            sink.local_get(0);
        }
        sink.end();
        entry
    }
}

impl Reencode for Fitting {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Infallible>> {
        Ok(function + IMPORTS)
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error<Infallible>> {
        let first = matches!(before, Some(SectionId::Type | SectionId::Import | SectionId::Custom));
        if !self.has_imports && !first {
            self.has_imports = true;
            module.section(&self.imports());
        }
        let early = matches!(
            before,
            Some(
                SectionId::Type
                    | SectionId::Import
                    | SectionId::Function
                    | SectionId::Table
                    | SectionId::Memory
                    | SectionId::Global
                    | SectionId::Export
                    | SectionId::Custom
            )
        );
        if !self.has_exports && !early {
            self.has_exports = true;
            module.section(&self.exports());
        }
        Ok(())
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([], [ValType::I32]);
        types.ty().function([], [ValType::I64]);
        types.ty().function([ValType::I32; 3], [ValType::I32]);
        types.ty().function([ValType::I32], []);
        types.ty().function([], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        assert_eq!(section.count(), 0, "generated without imports");
        self.has_imports = true;
        *imports = self.imports();
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.added_types() + if self.handler() { 0 } else { 4 });
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        self.has_exports = true;
        // They declare functions that bodies refer to.
        utils::parse_export_section(self, exports, section)?;
        self.add_exports(exports);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if self.written % 3 == 2 {
            function.instructions().call(CLOCK).drop();
        }
        self.written += 1;
        let mut after_eqz = false;
        for operator in body.get_operators_reader()? {
            let operator: Operator<'_> = operator?;
            if after_eqz && matches!(operator, Operator::Select | Operator::TypedSelect { .. }) {
                function.instructions().i32_const(2).i32_rotl();
            }
            after_eqz = matches!(operator, Operator::I32Eqz | Operator::I64Eqz);
            function.instruction(&self.instruction(operator)?);
        }
        code.function(&function);
        if self.written as usize == self.functions.len() {
            code.function(&self.entry());
        }
        Ok(())
    }
}
