//! The Millpond binary.
fn main() {}
