use talea::{Request, Response};

#[talea::handler(path = "/x")]
fn f(_request: Request) -> Response {
    Response::default()
}

fn main() {}
