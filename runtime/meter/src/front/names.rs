//! Function names out of the name section, for people only.
//!
//! Invariant: nothing that is charged or refused depends on them; a broken name section is no fault.

use wasmparser::{CustomSectionReader, KnownCustom, Name};

/// Bytes of a name that are kept: a mangled Rust name with its generics rarely needs more.
const NAME_BYTES_MAX: usize = 256;

/// Adds the names a section holds to `names`.
pub(super) fn take(section: &CustomSectionReader<'_>, names: &mut Vec<(u32, String)>) {
    let KnownCustom::Name(subsections) = section.as_known() else { return };
    for subsection in subsections {
        let Ok(Name::Function(map)) = subsection else { continue };
        for naming in map {
            let Ok(naming) = naming else { return };
            let end = naming.name.floor_char_boundary(NAME_BYTES_MAX);
            names.push((naming.index, naming.name[..end].to_owned()));
        }
    }
}
