//! How an execution ended, in the terms of the header.

use crate::abi::{AbEnd, AbLimits, AbOutcome, AbPair, AbStr};
use crate::limits::Stop;
use crate::link::types::ExecuteResponse;
use std::fmt::Write as _;
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Texts of errors that Wasmtime 48 raises without a public type; tests hold them in place.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";
const STORE_HANDLES: &str = "store handle limit exceeded";

/// Names are the guest's: one may be as long as the component, and each frame may have it.
const LONGEST_NAME: usize = 256;

/// The end of an execution, owned.
pub struct Outcome {
    pub end: AbEnd,
    trap_code: i32,
    limit: &'static str,
    message: String,
    backtrace: String,
    response: Option<ExecuteResponse>,
    headers: Vec<AbPair>,
}

impl Outcome {
    pub fn new(end: AbEnd, message: impl Into<String>) -> Outcome {
        Outcome {
            end,
            trap_code: -1,
            limit: "",
            message: message.into(),
            backtrace: String::new(),
            response: None,
            headers: Vec::new(),
        }
    }

    /// An answer, unless it is larger than the limits.
    pub fn answered(response: ExecuteResponse, limits: &AbLimits) -> Outcome {
        if let Err(stop) = within(&response, limits) {
            let mut outcome = Outcome::new(AbEnd::ResponseLimit, stop.to_string());
            outcome.limit = limit_name(AbEnd::ResponseLimit, Some(&stop));
            return outcome;
        }
        let mut outcome = Outcome::new(AbEnd::Ok, "");
        // The views point at heap memory of the strings, which moving the outcome leaves in place.
        outcome.headers = response
            .headers
            .iter()
            .map(|header| AbPair {
                name: header.name.as_str().into(),
                value: header.value.as_str().into(),
            })
            .collect();
        outcome.response = Some(response);
        outcome
    }

    /// A failure; `stderr` is the end of what the guest wrote there.
    pub fn failed(error: &wasmtime::Error, stderr: &str) -> Outcome {
        let end = classify(error);
        let mut outcome = Outcome::new(end, root_text(error));
        outcome.limit = limit_name(end, error.downcast_ref());
        outcome.trap_code = trap(error).map_or(-1, |trap| trap as u8 as i32);
        if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
            outcome.backtrace = frames(trace);
        }
        if matches!(end, AbEnd::GuestTrap | AbEnd::StackOverflow) && !stderr.is_empty() {
            outcome.message.push('\n');
            outcome.message.push_str(stderr);
        }
        outcome
    }

    pub fn view(&self) -> AbOutcome {
        let response = self.response.as_ref();
        let body = response.and_then(|response| response.body.as_ref());
        AbOutcome {
            end: self.end,
            trap_code: self.trap_code,
            message: self.message.as_str().into(),
            backtrace: self.backtrace.as_str().into(),
            status: response.map_or(0, |response| response.status),
            headers: self.headers.as_ptr(),
            n_headers: self.headers.len(),
            body: body.map_or(AbStr::EMPTY, |body| AbStr::from(&**body)),
            has_body: body.is_some().into(),
            limit: self.limit.into(),
        }
    }
}

// SAFETY: the raw views in `headers` point into `response`, which moves along and never changes.
unsafe impl Send for Outcome {}

fn within(response: &ExecuteResponse, limits: &AbLimits) -> Result<(), Stop> {
    let refuse = |limit: &'static str, what: &str, has: u64, most: u64| {
        Err(Stop::Response { limit, reason: format!("{has} {what}, {most} allowed") })
    };
    let body = response.body.as_ref().map_or(0, |body| body.len()) as u64;
    if body > limits.response_bytes {
        return refuse("response_body", "bytes of body", body, limits.response_bytes);
    }
    let count = response.headers.len() as u64;
    if count > limits.response_headers.into() {
        return refuse("header_count", "headers", count, limits.response_headers.into());
    }
    let bytes = |header: &crate::link::types::HttpHeader| header.name.len() + header.value.len();
    let total = response.headers.iter().map(bytes).sum::<usize>() as u64;
    if total > limits.response_header_bytes {
        return refuse("header_bytes", "bytes of headers", total, limits.response_header_bytes);
    }
    Ok(())
}

/// The limit that was hit, as the host names it; empty when the end is none.
fn limit_name(end: AbEnd, stop: Option<&Stop>) -> &'static str {
    match (end, stop) {
        (_, Some(Stop::Response { limit, .. })) => limit,
        (AbEnd::MemoryLimit, _) => "memory",
        (AbEnd::TableLimit, _) => "table_elements",
        (AbEnd::HostcallBytes, _) => "host_bytes",
        (AbEnd::HandleLimit, _) => "resource_handles",
        _ => "",
    }
}

fn trap(error: &wasmtime::Error) -> Option<Trap> {
    error.downcast_ref::<Trap>().copied()
}

fn classify(error: &wasmtime::Error) -> AbEnd {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Memory { .. } => AbEnd::MemoryLimit,
            Stop::Table { .. } => AbEnd::TableLimit,
            Stop::Response { .. } => AbEnd::ResponseLimit,
            Stop::HostBytes { .. } => AbEnd::HostcallBytes,
            Stop::Host(_) => AbEnd::Host,
            Stop::Machine(_) => AbEnd::Internal,
        };
    }
    if error.is::<I32Exit>() {
        return AbEnd::Exit;
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return AbEnd::PoolFull;
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return AbEnd::HandleLimit;
    }
    if let Some(trap) = trap(error) {
        return match trap {
            Trap::StackOverflow => AbEnd::StackOverflow,
            _ => AbEnd::GuestTrap,
        };
    }
    // Not the whole chain: it shows the backtrace, whose names are the guest's and unfold when they
    // are demangled, a few bytes to gigabytes.
    let text = root_text(error);
    if text.contains(HOSTCALL_FUEL) {
        return AbEnd::HostcallBytes;
    }
    if text.contains(STORE_HANDLES) {
        return AbEnd::HandleLimit;
    }
    // What is left is a guest that breaks the canonical ABI (bad UTF-8, unaligned pointers, refused
    // WASI arguments): a trap by another name.
    AbEnd::GuestTrap
}

/// What failed while an instance was made. Where no frame of the guest was on the stack it had not
/// begun: the machine could not make one (no memory, no more mappings).
pub fn while_instantiating(error: wasmtime::Error) -> wasmtime::Error {
    let guests = error.is::<WasmBacktrace>() || trap(&error).is_some();
    if guests || !matches!(classify(&error), AbEnd::GuestTrap) {
        return error;
    }
    Stop::Machine(root_text(&error)).into()
}

/// The innermost cause: the outer layers are the backtrace and "error while executing at …".
fn root_text(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

fn frames(trace: &WasmBacktrace) -> String {
    let mut text = String::new();
    for frame in trace.frames() {
        let module = shortened(frame.module().name().unwrap_or("<unnamed>"));
        let _ = match frame.func_name() {
            Some(name) => writeln!(text, "{module}!{}", shortened(name)),
            None => writeln!(text, "{module}!function[{}]", frame.func_index()),
        };
    }
    text.truncate(text.trim_end().len());
    text
}

fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}
