use talea::Request;

#[talea::handler]
fn f(_request: Request) -> String {
    String::new()
}

fn main() {}
