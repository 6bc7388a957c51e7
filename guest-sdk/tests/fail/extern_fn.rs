use talea::{Request, Response};

#[talea::handler]
extern "C" fn f(_request: Request) -> Response {
    Response::default()
}

fn main() {}
