//! Renders Markdown (CommonMark with tables, footnotes, strikethrough and task lists) to HTML.
//!
//! `POST` the text; `?page=1` wraps it in a document whose title is the first heading.

use std::str::Utf8Error;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};
use talea::{Request, Response};

#[talea::handler]
pub fn render(request: Request) -> Result<Response, Utf8Error> {
    let text = request.text()?;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;

    // Raw HTML of an unknown author is shown, not trusted.
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        other => other,
    });
    // HTML is seldom more than half again as long as its Markdown.
    let mut body = String::with_capacity(text.len() + text.len() / 2);
    html::push_html(&mut body, events);
    if request.query_value("page").is_some() {
        body = page(&title(text), &body);
    }
    talea::info!("{} bytes of Markdown, {} of HTML", text.len(), body.len());
    Ok(Response::html(body))
}

fn page(title: &str, body: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n{body}")
}

/// Text of the first heading.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut title = String::new();
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => inside = true,
            Event::End(TagEnd::Heading(_)) => break,
            Event::Text(part) | Event::Code(part) if inside => title.push_str(&part),
            _ => {}
        }
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use talea::testing::call;

    #[test]
    fn renders_and_escapes() {
        let answer = call(
            render,
            Request::post("/?page=1").with_body("# A & *b*\n\n<script>x</script>\n\n- [x] done\n"),
        );
        assert_eq!(answer.exit, 0);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(answer.text().contains("<title>A &amp; b</title>"));
        assert!(answer.text().contains("&lt;script&gt;"));
        assert!(answer.text().contains("checked=\"\""));
    }

    #[test]
    fn other_bytes_are_an_error() {
        let answer = call(render, Request::post("/").with_body([0xff]));
        assert_eq!(answer.exit, 1);
        assert!(answer.log.starts_with("error invalid utf-8"));
    }
}
