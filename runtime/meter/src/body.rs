//! One body, rewritten.
//!
//! Owns: what stands around and between a function's own instructions in each variant.
//!
//! # Layout of a rewritten function
//!
//! ```text
//! parameters [fast: + counter] | declared locals | [scratch i32, if needed]
//! charge of the first segment; check; [weight: count up, compare with the limit]
//! block (result R..)            in the place of the function's own label
//!   the body, `return` as a branch to this block, charges where segments begin
//! end
//! [weight: count down]
//! [fast: counter]
//! ```
//!
//! A loop becomes `loop; check; loop; branch to the outer one if overdrawn; charge; ..; end; end`. The fast
//! variant charges and checks at other places: see `lazy`.
//!
//! In the fast variant a local declared by the function moves up by one, past the counter. An
//! instruction that needs nothing is copied byte for byte; dead code is left out.
//!
//! Invariant: charge, check, then depth at the entry, in this order. Where the fast variant stops for its
//! depth, exact decides.

mod lazy;

use talea_ledger::profile::{BulkCosts, Profile};
use wasm_encoder::{BlockType, BranchHint, Encode, InstructionSink, ValType};
use wasmparser::{Operator, OperatorsReader};

use crate::front::{Body, Module};
use crate::labels::{Debt, Labels};
use crate::refusal::Refusal;
use crate::segment::{Charge, Shape};
use crate::weight::Weight;
use crate::{STOP_STACK, Variant};

/// Where things are in the output.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) variant: Variant,
    pub(crate) imported: u32,
    pub(crate) slice: u32,
    pub(crate) stop: u32,
    /// Functions of the output that call the two: an import's address would be loaded ahead of the cold
    /// path that calls it, and kept in registers on the hot one.
    pub(crate) grant: u32,
    pub(crate) halt: u32,
    /// First of the wrappers that stand in for imports (exact variants).
    pub(crate) wrappers: u32,
    /// Types of the original functions with the counter added begin here.
    pub(crate) augmented: u32,
    /// Per original type with several results, the type of a block with those results.
    pub(crate) result_blocks: Vec<Option<u32>>,
    /// The counter (exact variants).
    pub(crate) fuel: u32,
    /// The sum of weights.
    pub(crate) depth: u32,
    /// First of the counters by function (explained variant).
    pub(crate) lines: u32,
}

/// A rewritten body.
pub(crate) struct Rewritten {
    /// Locals and code, without the length.
    pub(crate) code: Vec<u8>,
    /// Where in it a branch nearly always goes one way.
    pub(crate) hints: Vec<BranchHint>,
}

/// Writes the body of the function whose index was `function`.
pub(crate) fn write<'a>(
    module: &'a Module<'a>,
    body: &'a Body<'a>,
    function: u32,
    places: &'a Places,
    profile: &'a Profile,
) -> Result<Rewritten, Refusal> {
    let ty = module.functions[function as usize];
    let params = u32::try_from(module.types[ty as usize].params().len()).expect("bounded");
    let counter = params;
    let shift = u32::from(places.variant == Variant::Fast);
    let mut writer = Writer {
        places,
        profile,
        module,
        counter,
        shift_from: params,
        shift,
        scratch: params + shift + body.locals,
        line: places.lines + (function - places.imported),
        code: Vec::with_capacity(body.body.range().len() * 2),
        hints: Vec::new(),
        labels: Labels::default(),
        charges: &body.plan.charges,
        shapes: &body.plan.shapes[1..],
        debt: Debt::default(),
    };
    writer.locals(body)?;
    writer.code(body, ty)?;
    Ok(Rewritten { code: writer.code, hints: writer.hints })
}

struct Writer<'a> {
    places: &'a Places,
    profile: &'a Profile,
    module: &'a Module<'a>,
    /// The local that holds the counter (fast).
    counter: u32,
    /// Locals from here on move up by `shift`.
    shift_from: u32,
    shift: u32,
    /// The local that holds an operand for a moment.
    scratch: u32,
    /// The global that counts this function's charges (explained).
    line: u32,
    code: Vec<u8>,
    hints: Vec<BranchHint>,
    labels: Labels,
    /// Charges not yet written.
    charges: &'a [Charge],
    /// Of constructs not yet opened.
    shapes: &'a [Shape],
    /// What is owed here (fast).
    debt: Debt,
}

/// How an operand makes a charge.
#[derive(Clone, Copy)]
enum Rate {
    PerKib(u64),
    PerUnit(u64),
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    fn fast(&self) -> bool {
        self.places.variant == Variant::Fast
    }

    fn locals(&mut self, body: &Body<'_>) -> Result<(), Refusal> {
        let reader = body.body.get_locals_reader()?;
        let scratch = u32::from(body.plan.scratch);
        (reader.get_count() + scratch).encode(&mut self.code);
        for group in reader {
            let (count, ty) = group?;
            count.encode(&mut self.code);
            value_type(ty).encode(&mut self.code);
        }
        if scratch == 1 {
            1u32.encode(&mut self.code);
            ValType::I32.encode(&mut self.code);
        }
        Ok(())
    }

    fn code(&mut self, body: &Body<'a>, ty: u32) -> Result<(), Refusal> {
        let (entry, rest) = self.charges.split_first().expect("the entry keeps its charge");
        self.charges = rest;
        self.charge(entry.cost);
        if self.fast() {
            self.entry_check(body, self.profile);
        } else if body.plan.checks_entry(self.profile) {
            self.check();
        }
        self.enter(body.weight);
        let results = self.module.types[ty as usize].results();
        let block = match (results, self.places.result_blocks[ty as usize]) {
            ([], _) => BlockType::Empty,
            ([one], _) => BlockType::Result(value_type(*one)),
            (_, block) => BlockType::FunctionType(block.expect("made for every such type")),
        };
        self.sink().block(block);
        if self.fast() {
            self.open_body(!results.is_empty());
        } else {
            self.labels.open();
        }
        let reached = self.run(&mut body.body.get_operators_reader()?)?;
        assert!(self.charges.is_empty(), "every charge stands before a live instruction");
        self.end(reached);
        self.leave(body.weight);
        if self.fast() {
            let counter = self.counter;
            self.sink().local_get(counter);
        }
        self.sink().end();
        Ok(())
    }

    /// Instructions up to the `end` of what is the innermost construct now; tells whether it is reached.
    fn run(&mut self, reader: &mut OperatorsReader<'a>) -> Result<bool, Refusal> {
        let wasm = self.module.wasm;
        let inside = self.labels.len();
        let mut dead: Option<u32> = None;
        loop {
            let offset = reader.original_position();
            let operator = reader.read()?;
            let next = reader.original_position();
            let reached = dead.is_none();
            dead = match (dead, &operator) {
                (None, _) | (Some(0), Operator::End | Operator::Else) => None,
                (Some(depth), Operator::End) => Some(depth - 1),
                (
                    Some(depth),
                    Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. },
                ) => Some(depth + 1),
                (dead, _) => dead,
            };
            if dead.is_some() {
                continue;
            }
            if matches!(operator, Operator::End) && self.labels.len() == inside {
                return Ok(reached);
            }
            self.instruction(&operator, &wasm[offset..next], reached, reader)?;
            self.charge_at(reader.original_position());
            if let Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable = operator
            {
                dead = Some(0);
            }
        }
    }

    fn instruction(
        &mut self,
        operator: &Operator<'_>,
        bytes: &[u8],
        reached: bool,
        reader: &mut OperatorsReader<'a>,
    ) -> Result<(), Refusal> {
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                let shape = self.shape();
                let carries = *blockty != wasmparser::BlockType::Empty;
                match operator {
                    _ if !self.fast() => _ = self.labels.open(),
                    Operator::If { .. } => self.open_if(shape, carries),
                    _ => self.open_block(shape, carries),
                }
                self.code.extend_from_slice(bytes);
            }
            Operator::Loop { .. } => {
                let shape = self.shape();
                if !self.fast() {
                    self.head_loop(bytes);
                } else if shape.turns > 1 {
                    self.turns(reader, shape)?;
                } else {
                    self.open_loop(bytes, shape);
                }
            }
            Operator::Else => {
                if self.fast() {
                    self.other_arm(reached);
                }
                self.sink().else_();
            }
            Operator::End => self.end(reached),
            Operator::Br { relative_depth } => self.br(*relative_depth),
            Operator::BrIf { relative_depth } if self.fast() => self.branch_if(*relative_depth),
            Operator::BrIf { relative_depth } => {
                let depth = self.labels.depth(*relative_depth);
                self.sink().br_if(depth);
            }
            Operator::BrTable { targets } => {
                if self.fast() {
                    self.branch_by_table(targets)?;
                }
                let mut depths = Vec::with_capacity(targets.len() as usize);
                for target in targets.targets() {
                    depths.push(self.labels.depth(target?));
                }
                let default = self.labels.depth(targets.default());
                self.sink().br_table(depths, default);
            }
            Operator::Return => {
                let depth = self.labels.outermost();
                self.br(depth);
            }
            _ => self.plain(operator, bytes),
        }
        Ok(())
    }

    fn shape(&mut self) -> Shape {
        let (shape, rest) = self.shapes.split_first().expect("one for every live construct");
        self.shapes = rest;
        *shape
    }

    fn br(&mut self, depth: u32) {
        if self.fast() {
            self.branch(depth);
        } else {
            let depth = self.labels.depth(depth);
            self.sink().br(depth);
        }
    }

    fn end(&mut self, reached: bool) {
        if self.fast() {
            self.join(reached);
        }
        let (_, ends) = self.labels.close();
        (0..ends).for_each(|_| _ = self.sink().end());
    }

    /// The charge of the segment that begins here, if one does.
    fn charge_at(&mut self, at: usize) {
        if let Some((charge, rest)) = self.charges.split_first()
            && charge.at == at
        {
            self.charges = rest;
            self.charge(charge.cost);
        }
    }

    fn head_loop(&mut self, bytes: &[u8]) {
        self.labels.open_loop();
        self.head(bytes);
    }

    /// A loop is written as two: the outer one holds the cold call, the inner one is the loop. A call
    /// inside the loop itself, however cold, would cost it registers on every turn.
    fn head(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
        self.check();
        self.code.extend_from_slice(bytes);
        self.counter_get();
        self.sink().i64_const(0).i64_lt_s().br_if(1);
    }

    /// An instruction that opens, closes and leaves nothing.
    fn plain(&mut self, operator: &Operator<'_>, bytes: &[u8]) {
        let BulkCosts { fill_per_kib, copy_per_kib, init_per_kib, grow_per_page, .. } =
            self.profile.bulk;
        let per_entry = Rate::PerUnit(self.profile.bulk.per_table_entry);
        match operator {
            Operator::LocalGet { local_index } if self.shifts(*local_index) => {
                let local = local_index + self.shift;
                self.sink().local_get(local);
                return;
            }
            Operator::LocalSet { local_index } if self.shifts(*local_index) => {
                let local = local_index + self.shift;
                self.sink().local_set(local);
                return;
            }
            Operator::LocalTee { local_index } if self.shifts(*local_index) => {
                let local = local_index + self.shift;
                self.sink().local_tee(local);
                return;
            }
            Operator::Call { function_index } => {
                self.call(*function_index);
                return;
            }
            Operator::CallIndirect { type_index, table_index } => {
                self.call_indirect(*type_index, *table_index);
                return;
            }
            Operator::RefFunc { function_index } => {
                let function = self.places.function(*function_index);
                self.sink().ref_func(function);
                return;
            }
            Operator::MemoryFill { .. } => self.charge_operand(Rate::PerKib(fill_per_kib)),
            Operator::MemoryCopy { .. } => self.charge_operand(Rate::PerKib(copy_per_kib)),
            Operator::MemoryInit { .. } => self.charge_operand(Rate::PerKib(init_per_kib)),
            Operator::MemoryGrow { .. } => self.charge_operand(Rate::PerUnit(grow_per_page)),
            Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => self.charge_operand(per_entry),
            _ => {}
        }
        self.code.extend_from_slice(bytes);
    }

    fn shifts(&self, local: u32) -> bool {
        self.shift > 0 && local >= self.shift_from
    }

    fn call(&mut self, function: u32) {
        let (counter, callee) = (self.counter, self.places.function(function));
        if self.fast() {
            self.settle();
            if function >= self.places.imported {
                self.check_once();
            }
            self.sink().local_get(counter).call(callee).local_set(counter);
        } else {
            self.sink().call(callee);
        }
    }

    fn call_indirect(&mut self, ty: u32, table: u32) {
        let (counter, scratch) = (self.counter, self.scratch);
        if self.fast() {
            let ty = self.places.augmented + ty;
            self.settle();
            self.check_once();
            self.sink().local_set(scratch).local_get(counter).local_get(scratch);
            self.sink().call_indirect(table, ty).local_set(counter);
        } else {
            self.sink().call_indirect(table, ty);
        }
    }

    /// Takes a fixed cost off the counter.
    fn charge(&mut self, cost: u64) {
        let cost = i64::try_from(cost).expect("a body's cost is bounded by its bytes");
        if self.fast() {
            self.debt.owed += cost.unsigned_abs();
            return;
        }
        if cost == 0 {
            return;
        }
        self.counter_get();
        self.sink().i64_const(cost).i64_sub();
        self.counter_set();
        if self.places.variant == Variant::Explained {
            let line = self.line;
            self.sink().global_get(line).i64_const(cost).i64_add().global_set(line);
        }
    }

    /// Charges by the operand on top of the stack, and checks; the operand stays.
    fn charge_operand(&mut self, rate: Rate) {
        let scratch = self.scratch;
        if self.fast() {
            self.settle();
        }
        self.sink().local_set(scratch);
        self.counter_get();
        self.operand_cost(rate);
        self.sink().i64_sub();
        self.counter_set();
        if self.places.variant == Variant::Explained {
            let line = self.line;
            self.sink().global_get(line);
            self.operand_cost(rate);
            self.sink().i64_add().global_set(line);
        }
        self.check();
        self.sink().local_get(scratch);
    }

    /// Pushes what the operand in the scratch local costs. No overflow: the operand is below 2^32 and
    /// every price below 2^24.
    fn operand_cost(&mut self, rate: Rate) {
        let scratch = self.scratch;
        let price = |price: u64| {
            assert!(price < 1 << 24, "prices by operand are small numbers of the profile");
            price.cast_signed()
        };
        self.sink().local_get(scratch).i64_extend_i32_u();
        match rate {
            Rate::PerKib(per_kib) => self
                .sink()
                .i64_const(price(per_kib))
                .i64_mul()
                .i64_const(1023)
                .i64_add()
                .i64_const(10)
                .i64_shr_u(),
            Rate::PerUnit(per_unit) => self.sink().i64_const(price(per_unit)).i64_mul(),
        };
    }

    /// Asks the host for the next slice where the counter is overdrawn. The compiler orders blocks so that
    /// what is branched to comes last: were the cold path branched to, it would come after all of the
    /// function, and a loop around it would seem to hold all of the function.
    fn check(&mut self) {
        let grant = self.places.grant;
        self.sink().block(BlockType::Empty);
        self.counter_get();
        self.sink().i64_const(0).i64_ge_s();
        self.hint(true);
        self.sink().br_if(0);
        self.counter_get();
        self.sink().call(grant);
        self.counter_set();
        self.sink().end();
    }

    /// Tells the compiler whether the next instruction branches nearly always or nearly never.
    fn hint(&mut self, taken: bool) {
        let at = u32::try_from(self.code.len()).expect("bodies are bounded");
        let hint = BranchHint { branch_func_offset: at, branch_hint_value: u32::from(taken) };
        self.hints.push(hint);
    }

    fn counter_get(&mut self) {
        let (counter, fuel) = (self.counter, self.places.fuel);
        if self.fast() {
            self.sink().local_get(counter);
        } else {
            self.sink().global_get(fuel);
        }
    }

    fn counter_set(&mut self) {
        let (counter, fuel) = (self.counter, self.places.fuel);
        if self.fast() {
            self.sink().local_set(counter);
        } else {
            self.sink().global_set(fuel);
        }
    }

    /// The weight that this variant counts: the fast one leaves weight 1 to the native stack.
    fn counted(&self, weight: Weight) -> Option<(i32, i32)> {
        let stack = &self.profile.stack;
        let (least, limit) = if self.fast() { (2, stack.heavy_max) } else { (1, stack.depth_max) };
        let bounded = |value: u64| i32::try_from(value).expect("depths are below 2^31");
        (weight.0 >= least).then(|| (bounded(u64::from(weight.0)), bounded(limit)))
    }

    fn enter(&mut self, weight: Weight) {
        let Some((weight, limit)) = self.counted(weight) else { return };
        let (depth, halt) = (self.places.depth, self.places.halt);
        self.sink().global_get(depth).i32_const(weight).i32_add().global_set(depth);
        self.sink().global_get(depth).i32_const(limit).i32_gt_s();
        self.hint(false);
        self.sink().if_(BlockType::Empty).i32_const(STOP_STACK).call(halt).unreachable().end();
    }

    fn leave(&mut self, weight: Weight) {
        let Some((weight, _)) = self.counted(weight) else { return };
        let depth = self.places.depth;
        self.sink().global_get(depth).i32_const(weight).i32_sub().global_set(depth);
    }
}

// === impl Places ===

impl Places {
    /// Where a function of the original is in the output.
    pub(crate) fn function(&self, original: u32) -> u32 {
        if original >= self.imported {
            // `slice` and `stop` stand between the imports and the module's own functions.
            original + 2
        } else if self.variant == Variant::Fast {
            original
        } else {
            self.wrappers + original
        }
    }
}

/// A value type in the encoder's words.
pub(crate) fn value_type(ty: wasmparser::ValType) -> ValType {
    ValType::try_from(ty).expect("validation admits only types that have an encoding")
}
