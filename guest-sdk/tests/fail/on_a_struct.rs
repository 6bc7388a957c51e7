#[talea::handler]
struct F;

fn main() {}
