use talea::{Request, Response};

#[talea::handler]
async fn f(_request: Request) -> Response {
    Response::default()
}

fn main() {}
