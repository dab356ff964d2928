//! The C interface between algad and Wasmtime; the contract is `include/alga_bridge.h`.
//!
//! Mechanism only: components are compiled, described, loaded and run here, while every decision
//! (capabilities, budgets, scheduling, I/O) belongs to the host behind the callbacks. Nothing in
//! this crate opens a file of its own accord, a socket or a thread except one timer thread.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod abi;
pub mod call;
pub mod component;
pub mod describe;
pub mod engine;
pub mod error;
pub mod exec;
mod guest;
mod instances;
pub mod legacy;
mod limits;
mod link;
mod outcome;
mod wake;
mod wasi;
mod wasi_http;
