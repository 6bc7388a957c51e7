//! Runs a jq filter over JSON.
//!
//! `POST` one or more JSON values; `?filter=` is a filter of the jq language, `.` if not given.
//! Each result is one line. A filter that does not compile is a 400, one that fails on the input
//! a 422 with the error as its body.

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use talea::{Request, Response};

type Program = Filter<data::JustLut<Val>>;

#[talea::handler]
pub fn query(request: Request) -> Response {
    let code = request.query_value("filter").unwrap_or_else(|| ".".into());
    let program = match compile(&code) {
        Ok(program) => program,
        Err(reason) => return refusal(400, &format!("filter: {reason}")),
    };
    let mut results = String::new();
    for input in read::parse_many(request.body()) {
        let input = match input {
            Ok(input) => input,
            Err(error) => return refusal(400, &format!("body: {error}")),
        };
        let context = Ctx::<data::JustLut<Val>>::new(&program.lut, Vars::new([]));
        for result in program.id.run((context, input)).map(unwrap_valr) {
            match result {
                Ok(value) => results.push_str(&format!("{value}\n")),
                Err(error) => return refusal(422, &error.to_string()),
            }
        }
    }
    Response::json(results)
}

fn compile(code: &str) -> Result<Program, String> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(definitions)
        .load(&arena, File { code, path: () })
        .map_err(|errors| errors.iter().map(|(_, e)| unreadable(e)).collect::<String>())?;
    Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let undefined = errors.iter().flat_map(|(_, undefined)| undefined);
        let texts = undefined.map(|(name, kind)| format!("undefined {}: {name}", kind.as_str()));
        texts.collect::<Vec<_>>().join(", ")
    })
}

/// The first place where the filter cannot be read.
fn unreadable(error: &load::Error<&str>) -> String {
    let at = |found: &str| match found.chars().next() {
        Some(_) => format!("at {found:?}"),
        None => "at the end".to_owned(),
    };
    match error {
        load::Error::Io(paths) => paths.iter().map(|(_, text)| text.as_str()).collect(),
        load::Error::Lex(errors) => errors
            .first()
            .map(|(expected, found)| format!("expected {} {}", expected.as_str(), at(found)))
            .unwrap_or_default(),
        load::Error::Parse(errors) => errors
            .first()
            .map(|(expected, found)| format!("expected {} {}", expected.as_str(), at(found)))
            .unwrap_or_default(),
    }
}

fn refusal(status: u16, reason: &str) -> Response {
    Response::text(format!("{reason}\n")).with_status(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use talea::testing::{Answered, call};

    fn run(filter: &str, body: &str) -> Answered {
        call(query, Request::post(&format!("/?filter={filter}")).with_body(body))
    }

    #[test]
    fn selects_sorts_and_counts() {
        let body = r#"[{"n":"b","v":2},{"n":"a","v":5},{"n":"c","v":1}]"#;
        let answer = run("map(select(.v>1))|sort_by(.n)|.[].n", body);
        assert_eq!((answer.status, answer.text()), (200, "\"a\"\n\"b\"\n"));
        assert_eq!(run("length", "[1,2] {}").text(), "2\n0\n");
        assert_eq!(run("test(%22^a.c$%22)", "\"abc\"").text(), "true\n");
    }

    #[test]
    fn mistakes_are_the_callers() {
        assert_eq!(run(".[", "{}").status, 400);
        let answer = run("nosuch", "{}");
        assert!(answer.text().contains("nosuch"), "{}", answer.text());
        assert_eq!(run(".", "{").status, 400);
        assert_eq!(run(".a", "[1]").status, 422);
    }
}
