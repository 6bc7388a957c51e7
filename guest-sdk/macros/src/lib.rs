//! The `#[talea::handler]` attribute.
