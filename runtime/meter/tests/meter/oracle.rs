//! Charges every instruction singly, where it stands: no segments, no plans, nothing of the pass.
//!
//! It shares only the profile with what it checks. Its counter is a global that counts up.

use std::convert::Infallible;

use talea_ledger::profile::Profile;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, Encode, ExportKind, ExportSection, Function, GlobalSection, GlobalType,
    Instruction, Module, SectionId, ValType,
};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// The counter's name.
pub(crate) const EXPORT: &str = "oracle:fuel";

/// Rewrites a module so that it counts every instruction it runs.
pub(crate) fn instrument(wasm: &[u8]) -> Vec<u8> {
    let mut oracle = Oracle { profile: Profile::v1(), counter: 0, params: Vec::new(), next: 0 };
    let mut types = Vec::new();
    let (mut has_globals, mut has_memory_export) = (false, false);
    let mut has_memory = false;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                let all = section.into_iter_err_on_gc_types();
                types = all.map(|ty| ty.unwrap().params().len()).collect();
            }
            Payload::FunctionSection(section) => {
                oracle.params = section.into_iter().map(|ty| types[ty.unwrap() as usize]).collect();
            }
            Payload::GlobalSection(section) => {
                has_globals = true;
                oracle.counter = section.count();
            }
            Payload::MemorySection(_) => has_memory = true,
            Payload::ExportSection(section) => {
                has_memory_export =
                    section.into_iter().any(|export| export.unwrap().name == "memory");
            }
            _ => {}
        }
    }
    let mut module = Module::new();
    let mut rewriting =
        Rewriting { oracle, has_globals, export_memory: has_memory && !has_memory_export };
    rewriting.parse_core_module(&mut module, Parser::new(0), wasm).unwrap();
    module.finish()
}

struct Oracle {
    profile: Profile,
    counter: u32,
    /// Parameters of each own function.
    params: Vec<usize>,
    next: usize,
}

struct Rewriting {
    oracle: Oracle,
    has_globals: bool,
    export_memory: bool,
}

impl Reencode for Rewriting {
    type Error = Infallible;

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error<Infallible>> {
        // The counter needs a global section even where the module has none.
        let late = !matches!(
            before,
            Some(
                SectionId::Type
                    | SectionId::Import
                    | SectionId::Function
                    | SectionId::Table
                    | SectionId::Memory
                    | SectionId::Custom
            )
        );
        if !self.has_globals && late {
            self.has_globals = true;
            let mut globals = GlobalSection::new();
            self.add_counter(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        wasm_encoder::reencode::utils::parse_global_section(self, globals, section)?;
        self.add_counter(globals);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        wasm_encoder::reencode::utils::parse_export_section(self, exports, section)?;
        exports.export(EXPORT, ExportKind::Global, self.oracle.counter);
        if self.export_memory {
            exports.export("memory", ExportKind::Memory, 0);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut locals = Vec::new();
        let mut declared = 0;
        for group in body.get_locals_reader().unwrap() {
            let (count, ty) = group.unwrap();
            declared += count;
            locals.push((count, self.val_type(ty)?));
        }
        locals.push((1, ValType::I32));
        let index = self.oracle.next;
        self.oracle.next += 1;
        let scratch = u32::try_from(self.oracle.params[index]).unwrap() + declared;
        let mut function = Function::new(locals);
        let bulk = self.oracle.profile.bulk;
        let entry = bulk.entry + u64::from(declared).div_ceil(bulk.locals_per_fuel);
        self.oracle.charge(&mut function, entry);
        for operator in body.get_operators_reader().unwrap() {
            let operator = operator.unwrap();
            let growing = self.oracle.rate(&operator);
            let instruction = self.instruction(operator)?;
            let cost = self.oracle.cost(&instruction);
            self.oracle.charge(&mut function, cost);
            if let Some((price, shift)) = growing {
                self.oracle.charge_operand(&mut function, scratch, price, shift);
            }
            function.instruction(&instruction);
        }
        code.function(&function);
        Ok(())
    }
}

impl Rewriting {
    fn add_counter(&mut self, globals: &mut GlobalSection) {
        let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i64_const(0));
    }
}

impl Oracle {
    /// The profile's line for an instruction, found from how it is encoded.
    fn cost(&self, instruction: &Instruction<'_>) -> u64 {
        let mut bytes = Vec::new();
        instruction.encode(&mut bytes);
        let opcodes = &self.profile.opcodes;
        let behind_prefix = || {
            let low = usize::from(bytes[1] & 0x7F);
            if bytes[1] < 0x80 { low } else { low + (usize::from(bytes[2]) << 7) }
        };
        u64::from(match bytes[0] {
            0xFC => opcodes.prefix_fc[behind_prefix()],
            0xFD => opcodes.prefix_fd[behind_prefix()],
            plain => opcodes.plain[usize::from(plain)],
        })
    }

    /// Price per operand unit, and by how much the product is shifted down (rounding up).
    fn rate(&self, operator: &Operator<'_>) -> Option<(u64, u32)> {
        let bulk = &self.profile.bulk;
        match operator {
            Operator::MemoryFill { .. } => Some((bulk.fill_per_kib, 10)),
            Operator::MemoryCopy { .. } => Some((bulk.copy_per_kib, 10)),
            Operator::MemoryInit { .. } => Some((bulk.init_per_kib, 10)),
            Operator::MemoryGrow { .. } => Some((bulk.grow_per_page, 0)),
            Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => Some((bulk.per_table_entry, 0)),
            _ => None,
        }
    }

    fn charge(&self, function: &mut Function, cost: u64) {
        if cost > 0 {
            function
                .instruction(&Instruction::GlobalGet(self.counter))
                .instruction(&Instruction::I64Const(cost.cast_signed()))
                .instruction(&Instruction::I64Add)
                .instruction(&Instruction::GlobalSet(self.counter));
        }
    }

    fn charge_operand(&self, function: &mut Function, scratch: u32, price: u64, shift: u32) {
        function
            .instruction(&Instruction::LocalTee(scratch))
            .instruction(&Instruction::LocalGet(scratch))
            .instruction(&Instruction::I64ExtendI32U)
            .instruction(&Instruction::I64Const(price.cast_signed()))
            .instruction(&Instruction::I64Mul)
            .instruction(&Instruction::I64Const((1 << shift) - 1))
            .instruction(&Instruction::I64Add)
            .instruction(&Instruction::I64Const(i64::from(shift)))
            .instruction(&Instruction::I64ShrU)
            .instruction(&Instruction::GlobalGet(self.counter))
            .instruction(&Instruction::I64Add)
            .instruction(&Instruction::GlobalSet(self.counter));
    }
}
