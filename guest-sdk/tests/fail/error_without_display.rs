use talea::{Request, Response};

struct Silent;

#[talea::handler]
fn f(_request: Request) -> Result<Response, Silent> {
    Err(Silent)
}

fn main() {}
