use talea::Response;

#[talea::handler]
fn f(_body: String) -> Response {
    Response::default()
}

fn main() {}
