//! Seccomp: which system calls a container may make.
//!
//! [`profile`] decides (pure), [`compile`] turns the decision into the program that the kernel runs (seccomp(2)).

mod compile;
pub(super) mod profile;

pub(super) use compile::Filters;
