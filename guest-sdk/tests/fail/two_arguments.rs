use talea::{Request, Response};

#[talea::handler]
fn f(_request: Request, _name: String) -> Response {
    Response::default()
}

fn main() {}
