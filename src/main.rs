//! The `remint` program.

fn main() {}
