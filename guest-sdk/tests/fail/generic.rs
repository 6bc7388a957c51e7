use talea::{Request, Response};

#[talea::handler]
fn f<T>(_request: Request) -> Response {
    Response::default()
}

fn main() {}
