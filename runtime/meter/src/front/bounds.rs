//! The profile's bounds, each checked where its subject is first known.
//!
//! Invariant: a section's count is checked before anything is allocated for it, so that refusing a
//! hostile module costs no more than reading up to its fault.

use talea_ledger::profile::Profile;
use wasmparser::{
    DataSectionReader, ElementItems, ElementSectionReader, FuncValidator, Operator, Payload,
    ValidatorResources,
};

use crate::refusal::{Refusal, RefusalReason};
use crate::segment::Plan;
use crate::weight::Weight;

/// Refuses what is above its bound.
pub(super) fn at_most(
    bound: u64,
    actual: u64,
    what: &str,
    offset: impl Into<Option<usize>>,
) -> Result<(), Refusal> {
    if actual <= bound {
        return Ok(());
    }
    let detail = format!("{what}: {actual}, at most {bound}");
    Err(Refusal::new(RefusalReason::TooLarge, offset, detail))
}

/// Before a section is validated.
pub(super) fn check_section(payload: &Payload<'_>, profile: &Profile) -> Result<(), Refusal> {
    let bounds = &profile.bounds;
    let count =
        |bound, count: u32, what, offset: usize| at_most(bound, u64::from(count), what, offset);
    match payload {
        Payload::TypeSection(section) => {
            count(bounds.types, section.count(), "types", section.range().start)?;
            for group in section.clone().into_iter_with_offsets() {
                let (offset, group) = group?;
                for ty in group.types() {
                    if let wasmparser::CompositeInnerType::Func(ty) = &ty.composite_type.inner {
                        at_most(bounds.params, ty.params().len() as u64, "parameters", offset)?;
                        at_most(bounds.results, ty.results().len() as u64, "results", offset)?;
                    }
                }
            }
            Ok(())
        }
        Payload::ImportSection(s) => count(bounds.imports, s.count(), "imports", s.range().start),
        Payload::FunctionSection(s) => {
            count(bounds.functions, s.count(), "functions", s.range().start)
        }
        Payload::TableSection(section) => {
            count(bounds.tables, section.count(), "tables", section.range().start)?;
            let mut entries = 0u64;
            for table in section.clone().into_iter_with_offsets() {
                let (offset, table) = table?;
                entries = entries.saturating_add(table.ty.initial);
                at_most(bounds.table_entries, entries, "initial table entries", offset)?;
            }
            Ok(())
        }
        Payload::MemorySection(section) => {
            for memory in section.clone().into_iter_with_offsets() {
                let (offset, memory) = memory?;
                at_most(bounds.memory_pages, memory.initial, "initial pages", offset)?;
            }
            Ok(())
        }
        Payload::GlobalSection(s) => count(bounds.globals, s.count(), "globals", s.range().start),
        Payload::ExportSection(s) => count(bounds.exports, s.count(), "exports", s.range().start),
        Payload::ElementSection(section) => {
            let start = section.range().start;
            count(bounds.element_segments, section.count(), "element segments", start)?;
            at_most(bounds.elements, elements(section)?, "elements", start)
        }
        Payload::DataSection(section) => {
            let start = section.range().start;
            count(bounds.data_segments, section.count(), "data segments", start)?;
            at_most(bounds.data_bytes, data_bytes(section)?, "bytes of data", start)
        }
        Payload::CodeSectionEntry(body) => {
            let range = body.range();
            at_most(bounds.body_bytes, range.len() as u64, "bytes of a body", range.start)
        }
        _ => Ok(()),
    }
}

/// After an instruction is validated.
pub(super) fn check_operator(
    operator: &Operator<'_>,
    validator: &FuncValidator<ValidatorResources>,
    profile: &Profile,
    offset: usize,
) -> Result<(), Refusal> {
    let bounds = &profile.bounds;
    let operands = u64::from(validator.operand_stack_height());
    at_most(bounds.operands, operands, "operand stack entries", offset)?;
    let nesting = u64::from(validator.control_stack_height());
    at_most(bounds.nesting, nesting, "nested blocks", offset)?;
    if let Operator::BrTable { targets } = operator {
        let targets = u64::from(targets.len());
        at_most(bounds.branch_targets, targets, "targets of a br_table", offset)?;
    }
    Ok(())
}

/// After a body is analysed: its work for a compiler, its frame, and the weight made of it.
pub(super) fn check_plan(
    plan: &Plan,
    locals: u64,
    profile: &Profile,
    offset: usize,
) -> Result<Weight, Refusal> {
    let complexity = (locals + 1).saturating_mul(plan.joins);
    at_most(profile.bounds.complexity, complexity, "(locals + 1) x branches", offset)?;
    let bytes = plan.frame.bytes(&profile.stack);
    if bytes > profile.stack.frame_bytes_max {
        let detail =
            format!("a frame could need {bytes} bytes, at most {}", profile.stack.frame_bytes_max);
        return Err(Refusal::new(RefusalReason::FrameTooLarge, offset, detail));
    }
    Ok(if plan.calls { plan.frame.weight(&profile.stack) } else { Weight(0) })
}

/// Entries of all element segments together.
pub(super) fn elements(section: &ElementSectionReader<'_>) -> Result<u64, Refusal> {
    let mut sum = 0u64;
    for element in section.clone() {
        sum += match element?.items {
            ElementItems::Functions(items) => u64::from(items.count()),
            ElementItems::Expressions(_, items) => u64::from(items.count()),
        };
    }
    Ok(sum)
}

/// Bytes of all data segments together.
pub(super) fn data_bytes(section: &DataSectionReader<'_>) -> Result<u64, Refusal> {
    let mut sum = 0u64;
    for data in section.clone() {
        sum += data?.data.len() as u64;
    }
    Ok(sum)
}
