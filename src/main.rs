//! argv → shim | daemon | cli, in this order: the shim must branch off before any thread or runtime exists.

fn main() {}
