use talea::Request;

#[talea::handler]
fn f(_request: Request) {}

fn main() {}
