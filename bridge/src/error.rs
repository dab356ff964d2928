//! Errors as C sees them, and the guard that every entry point runs under.

use crate::abi::{AbStatus, AbStr};
use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An error handed to C: `ab_error`.
#[derive(Debug)]
pub struct AbError {
    /// Which kind.
    pub status: AbStatus,
    /// For operators; names no secret and no guest data beyond names in the component itself.
    pub message: String,
}

impl AbError {
    /// An error of the given kind.
    pub fn new(status: AbStatus, message: impl Display) -> AbError {
        AbError { status, message: message.to_string() }
    }

    /// `AB_E_INVALID`.
    pub fn invalid(message: impl Display) -> AbError {
        AbError::new(AbStatus::Invalid, message)
    }
}

/// Whether the kernel refused something (memory, mappings). Wasmtime has no public type for its
/// errors; they read `… (os error 12)`.
pub fn is_of_the_machine(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("(os error ")
}

/// What a caught panic said.
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}

/// Runs a fallible entry point: catches panics and stores the error in `*error` unless that is NULL.
///
/// # Safety
/// `error` is NULL or writable.
pub unsafe fn guard(
    error: *mut *mut AbError,
    body: impl FnOnce() -> Result<(), AbError>,
) -> AbStatus {
    let result = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|payload| Err(AbError::new(AbStatus::Panic, panic_text(payload.as_ref()))));
    let (status, boxed) = match result {
        Ok(()) => (AbStatus::Ok, std::ptr::null_mut()),
        Err(failure) => (failure.status, Box::into_raw(Box::new(failure))),
    };
    if !error.is_null() {
        // SAFETY: writable, promised by the caller.
        unsafe { error.write(boxed) };
    } else if !boxed.is_null() {
        // SAFETY: just made by Box::into_raw.
        drop(unsafe { Box::from_raw(boxed) });
    }
    status
}

/// Runs an infallible entry point; a panic becomes the default value.
pub fn quiet<T: Default>(body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_default()
}

/// # Safety
/// `error` is NULL or came from this library and is not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_error_status(error: *const AbError) -> AbStatus {
    // SAFETY: promised by the caller.
    unsafe { error.as_ref() }.map_or(AbStatus::Ok, |error| error.status)
}

/// # Safety
/// As for [`ab_error_status`]; the view lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_error_message(error: *const AbError) -> AbStr {
    // SAFETY: promised by the caller.
    unsafe { error.as_ref() }.map_or(AbStr::EMPTY, |error| error.message.as_str().into())
}

/// # Safety
/// As for [`ab_error_status`]; the error must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_error_free(error: *mut AbError) {
    if !error.is_null() {
        // SAFETY: came from Box::into_raw in `guard`.
        drop(unsafe { Box::from_raw(error) });
    }
}
