use talea::Response;

#[talea::handler]
fn f() -> Response {
    Response::default()
}

fn main() {}
