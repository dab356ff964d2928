//! The data that crosses the C boundary, field for field as in `include/alga_bridge.h`.

#![allow(missing_docs)] // documented in the header

use bytes::Bytes;
use std::ffi::c_void;
use std::slice;

pub const AB_ABI_VERSION: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbStr {
    pub data: *const u8,
    pub len: usize,
}

/// Same layout as [`AbStr`]: bytes that need not be UTF-8.
pub type AbView = AbStr;

impl AbStr {
    pub const EMPTY: AbStr = AbStr { data: std::ptr::null(), len: 0 };

    /// The bytes behind the view; NULL counts as empty.
    ///
    /// # Safety
    /// `data` must point to `len` readable bytes for as long as the result is used.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.len == 0 {
            return &[];
        }
        // SAFETY: promised by the caller.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }

    /// A copy as UTF-8; malformed sequences become U+FFFD, so that a guest always gets valid text.
    ///
    /// # Safety
    /// As for [`AbStr::bytes`].
    pub unsafe fn to_text(self) -> String {
        // SAFETY: promised by the caller.
        String::from_utf8_lossy(unsafe { self.bytes() }).into_owned()
    }
}

impl From<&str> for AbStr {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<&[u8]> for AbStr {
    fn from(bytes: &[u8]) -> Self {
        AbStr { data: bytes.as_ptr(), len: bytes.len() }
    }
}

#[repr(C)]
#[derive(Debug)]
pub struct AbOwned {
    pub data: *const u8,
    pub len: usize,
    pub release: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    pub ctx: *mut c_void,
}

impl AbOwned {
    pub const EMPTY: AbOwned =
        AbOwned { data: std::ptr::null(), len: 0, release: None, ctx: std::ptr::null_mut() };

    /// Hands bytes of ours to C.
    pub fn from_vec(bytes: Vec<u8>) -> AbOwned {
        unsafe extern "C-unwind" fn release(ctx: *mut c_void) {
            // SAFETY: ctx came from Box::into_raw below and release is called once.
            drop(unsafe { Box::from_raw(ctx.cast::<Vec<u8>>()) });
        }
        let boxed = Box::new(bytes);
        AbOwned {
            data: boxed.as_ptr(),
            len: boxed.len(),
            release: Some(release),
            ctx: Box::into_raw(boxed).cast(),
        }
    }

    /// Takes ownership; the foreign memory is read in place and released with the last clone.
    ///
    /// # Safety
    /// The buffer must be valid, immutable and releasable from any thread until released.
    pub unsafe fn into_bytes(self) -> Bytes {
        let foreign = Foreign(self);
        if foreign.as_ref().is_empty() {
            return Bytes::new(); // dropping `foreign` releases it now
        }
        Bytes::from_owner(foreign)
    }
}

struct Foreign(AbOwned);

// SAFETY: the contract of ab_owned lets the buffer be read and released from any thread.
unsafe impl Send for Foreign {}

impl AsRef<[u8]> for Foreign {
    fn as_ref(&self) -> &[u8] {
        let view = AbStr { data: self.0.data, len: self.0.len };
        // SAFETY: promised to AbOwned::into_bytes.
        unsafe { view.bytes() }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(release) = self.0.release.take() {
            // SAFETY: called once, with the context it belongs to.
            unsafe { release(self.0.ctx) };
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbPair {
    pub name: AbStr,
    pub value: AbStr,
}

/// The elements of a C array; NULL counts as empty.
///
/// # Safety
/// `data` must point to `len` valid elements for as long as the result is used.
pub unsafe fn array<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(data, len) }
}

/// Copies an array of pairs.
///
/// # Safety
/// As for [`array`], and each view must be valid.
pub unsafe fn pairs(data: *const AbPair, len: usize) -> Vec<(String, String)> {
    // SAFETY: promised by the caller.
    unsafe { array(data, len) }
        .iter()
        // SAFETY: as above.
        .map(|pair| unsafe { (pair.name.to_text(), pair.value.to_text()) })
        .collect()
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbStatus {
    Ok = 0,
    Invalid,
    Incompatible,
    Link,
    Limit,
    PoolFull,
    Io,
    Panic,
}

#[repr(C)]
#[derive(Clone, Debug)]
pub struct AbEngineConfig {
    pub abi: u32,
    pub pooling: u8,
    pub async_stack_zeroing: u8,
    pub max_executions: u32,
    pub max_memory_bytes: u64,
    pub max_table_elements: u32,
    pub core_instances_per_component: u32,
    pub memories_per_component: u32,
    pub tables_per_component: u32,
    pub max_core_instance_bytes: u64,
    pub max_component_instance_bytes: u64,
    pub max_unused_warm_slots: u32,
    pub decommit_batch: u32,
    pub memory_keep_resident: u64,
    pub table_keep_resident: u64,
    pub dense_image_max_bytes: u64,
    pub async_stack_bytes: u64,
    pub max_wasm_stack_bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct AbPoolStats {
    pub live_component_instances: u64,
    pub live_core_instances: u64,
    pub live_memories: u64,
    pub live_tables: u64,
    pub live_stacks: u64,
    pub unused_warm_memories: u64,
    pub unused_memory_bytes_resident: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbOp {
    ContextGet = 1,
    ContextRemaining,
    ConfigGet,
    ConfigEntries,
    SecretGet,
    SecretKeys,
    HttpFetch,
    StorageGet,
    StoragePut,
    StorageDelete,
    StorageList,
    UiCall,
    UserGet,
    Unoffered,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbVia {
    V1 = 0,
    Compat = 1,
    Wasi = 2,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbHttpRequest {
    pub method: AbStr,
    pub url: AbStr,
    pub headers: *const AbPair,
    pub n_headers: usize,
    pub body: AbView,
    pub has_body: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbCondition {
    Always = 0,
    CreateOnly = 1,
    Revision = 2,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbStorageRequest {
    pub ns: AbStr,
    pub key: AbStr,
    pub value: AbView,
    pub condition: AbCondition,
    pub revision: u64,
    pub ttl_seconds: u32,
    pub has_ttl: u8,
    pub cursor: AbStr,
    pub limit: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbHostRequest {
    pub op: AbOp,
    pub via: AbVia,
    pub key: AbStr,
    pub body: AbView,
    pub has_body: u8,
    pub http: *const AbHttpRequest,
    pub storage: *const AbStorageRequest,
}

/// Neutral error cases; an unknown number from C becomes `Internal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    Internal,
    Denied,
    Missing,
    Expired,
    Conflict,
    Invalid,
    Quota,
    Transport,
    Timeout,
    TooLarge,
    Limit,
}

impl HostError {
    pub fn from_c(value: u32) -> HostError {
        use HostError::*;
        const ALL: [HostError; 11] = [
            Internal, Denied, Missing, Expired, Conflict, Invalid, Quota, Transport, Timeout,
            TooLarge, Limit,
        ];
        ALL.get(value as usize).copied().unwrap_or(Internal)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbContext {
    pub request_id: AbStr,
    pub tenant_id: AbStr,
    pub extension_id: AbStr,
    pub install_id: AbStr,
    pub version_id: AbStr,
    pub has_request_id: u8,
    pub has_install_id: u8,
    pub has_version_id: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbUser {
    pub tenant_id: AbStr,
    pub client_name: AbStr,
    pub user_id: AbStr,
    pub user_email: AbStr,
    pub user_name: AbStr,
    pub user_type: AbStr,
    pub client_id: AbStr,
    pub has_client_id: u8,
    pub additional: *const AbPair,
    pub n_additional: usize,
}

#[repr(C)]
#[derive(Debug)]
pub struct AbHttpResponse {
    pub status: u16,
    pub headers: *const AbPair,
    pub n_headers: usize,
    pub body: AbOwned,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbStorageEntry {
    pub ns: AbStr,
    pub key: AbStr,
    pub value: AbView,
    pub revision: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbLogLevel {
    Debug = 0,
    Info,
    Warn,
    Error,
}

/// Callbacks of the host. `C-unwind` only so that a Rust host (our tests) may panic in one and find
/// the panic confined to its execution; a C++ host marks them `noexcept`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AbHost {
    pub abi: u32,
    pub user: *mut c_void,
    pub notify: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void)>,
    pub call: Option<
        unsafe extern "C-unwind" fn(
            *mut c_void,
            *mut c_void,
            *const AbHostRequest,
            *mut crate::call::AbCall,
        ) -> i32,
    >,
    pub abandoned: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, u64)>,
    pub log:
        Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, AbLogLevel, AbStr) -> i32>,
    pub stdio: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, i32, AbView) -> i32>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbLimits {
    pub memory_bytes: u64,
    pub table_elements: u32,
    pub resource_handles: u32,
    pub host_call_bytes: u64,
    pub response_bytes: u64,
    pub response_headers: u32,
    pub response_header_bytes: u64,
}

#[repr(C)]
#[derive(Debug)]
pub struct AbExecuteRequest {
    pub context: AbContext,
    pub method: AbStr,
    pub url: AbStr,
    pub headers: *const AbPair,
    pub n_headers: usize,
    pub body: AbOwned,
    pub has_body: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbPoll {
    Pending = 0,
    Yielded,
    Ready,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbEnd {
    Ok = 0,
    GuestTrap,
    StackOverflow,
    MemoryLimit,
    TableLimit,
    HostcallBytes,
    HandleLimit,
    ResponseLimit,
    Exit,
    Host,
    Link,
    PoolFull,
    Panic,
    Internal,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AbOutcome {
    pub end: AbEnd,
    pub trap_code: i32,
    pub message: AbStr,
    pub backtrace: AbStr,
    pub status: u16,
    pub headers: *const AbPair,
    pub n_headers: usize,
    pub body: AbView,
    pub has_body: u8,
    pub limit: AbStr,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct AbStats {
    pub instantiate_ns: u64,
    pub call_ns: u64,
    pub poll_ns: u64,
    pub peak_memory_bytes: u64,
    pub peak_table_elements: u64,
    pub host_bytes_in: u64,
    pub host_bytes_out: u64,
    pub host_calls: u32,
    pub polls: u32,
    pub yields: u32,
    pub memory_denied: u8,
    pub table_denied: u8,
}
