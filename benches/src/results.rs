//! The page the figures end on.
//!
//! Owns `RESULTS.md` as named sections between comment marks, so that each bench replaces its own
//! and leaves the others as they are. Absent: the words between the sections; people write those.

use std::fs;
use std::io;
use std::path::Path;

/// Puts `text` into the section `name` of the page at `path`, at its end when it has none.
pub fn replace(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let page = match fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    fs::write(path, replaced(&page, name, text))
}

fn replaced(page: &str, name: &str, text: &str) -> String {
    let open = format!("<!-- {name} -->");
    let close = format!("<!-- /{name} -->");
    let section = format!("{open}\n{}\n{close}", text.trim());
    let found = page.find(&open).zip(page.find(&close)).filter(|(from, to)| from < to);
    match found {
        Some((from, to)) => format!("{}{section}{}", &page[..from], &page[to + close.len()..]),
        None if page.is_empty() => format!("{section}\n"),
        None => format!("{}\n\n{section}\n", page.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_section_replaces_itself_only() {
        let page = replaced("", "a", "one\n");
        assert_eq!(page, "<!-- a -->\none\n<!-- /a -->\n");
        let page = replaced(&page, "b", "two");
        assert_eq!(page, "<!-- a -->\none\n<!-- /a -->\n\n<!-- b -->\ntwo\n<!-- /b -->\n");
        let page = replaced(&page, "a", "three");
        assert_eq!(page, "<!-- a -->\nthree\n<!-- /a -->\n\n<!-- b -->\ntwo\n<!-- /b -->\n");
    }
}
