//! Greets the caller by the name in the body or in `?name=`.

use std::str::Utf8Error;

use talea::{Request, Response};

#[talea::handler]
pub fn greet(request: Request) -> Result<Response, Utf8Error> {
    let name = match request.query_value("name") {
        Some(name) => name,
        None => request.text()?.trim().to_owned(),
    };
    if name.is_empty() {
        return Ok(Response::text("Who are you?\n").with_status(400));
    }
    talea::info!("greeting {} bytes of name", name.len());
    Ok(Response::text(format!("Hello, {name}!\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use talea::testing::call;

    #[test]
    fn greets_by_name() {
        let answer = call(greet, Request::post("/").with_body("Ada\n"));
        assert_eq!(answer.text(), "Hello, Ada!\n");
        assert_eq!(call(greet, Request::get("/?name=Bo")).text(), "Hello, Bo!\n");
    }

    #[test]
    fn asks_for_a_name() {
        assert_eq!(call(greet, Request::get("/")).status, 400);
    }
}
