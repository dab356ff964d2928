//! The state of one execution: what its store holds, and what outlives the store.

use crate::abi::{AbHostRequest, AbLogLevel, AbOp, AbStr, AbVia};
use crate::call::{AbCall, Completion, HostRequest, HostValue, Waiting, issue};
use crate::engine::Host;
use crate::limits::{Limiter, Stop};
use crate::wake::WakeState;
use crate::wasi_http::{HttpHooks, QueuedFetch};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Wake;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// How much of the guest's standard error is kept for the message of a trap.
const STDERR_TAIL: usize = 16 << 10;

#[derive(Clone, Copy)]
struct User(*mut c_void);

// SAFETY: the header makes every callback callable from any thread with this pointer.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

/// The part of an execution that wakers, pending calls and timers may hold on to after the guest is
/// gone. All callbacks go through here: once closed, none is made any more.
pub struct Shared {
    host: Host,
    user: RwLock<Option<User>>,
    pub wake: WakeState,
    /// Set by the epoch callback: the poll ended because its slice did.
    pub yielded: AtomicBool,
    pub yields: AtomicU32,
    abort: Mutex<Option<String>>,
    /// `None` once the guest is gone: what is queued holds on to all this.
    fetches: Mutex<Option<Vec<QueuedFetch>>>,
    /// Those that the host has got. The timer thread waits for them, and would let go of them too late.
    issued: Mutex<Vec<Waiting>>,
    stderr: Mutex<VecDeque<u8>>,
    /// Bytes of bodies that the guest is writing or sending and that no host call has taken yet.
    pub unsent: AtomicUsize,
    /// Other bytes that the guest ever left in resources of `wasi:http`.
    pub handed: AtomicUsize,
    next_call: AtomicU64,
    pub host_calls: AtomicU32,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(host: Host, exec_user: *mut c_void) -> Shared {
        Shared {
            host,
            user: RwLock::new(Some(User(exec_user))),
            wake: WakeState::new(),
            yielded: AtomicBool::new(false),
            yields: AtomicU32::new(0),
            abort: Mutex::new(None),
            fetches: Mutex::new(Some(Vec::new())),
            issued: Mutex::new(Vec::new()),
            stderr: Mutex::new(VecDeque::new()),
            unsent: AtomicUsize::new(0),
            handed: AtomicUsize::new(0),
            next_call: AtomicU64::new(1),
            host_calls: AtomicU32::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// For unit tests: of an execution that nobody listens to.
    #[cfg(test)]
    pub fn unattended() -> Arc<Shared> {
        let shared = Shared::new(Host::deaf(), std::ptr::null_mut());
        shared.close();
        Arc::new(shared)
    }

    /// No callback is made, nor still running, once this returns.
    pub fn close(&self) {
        *self.user.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn with_user<R>(&self, f: impl FnOnce(*mut c_void) -> R) -> Option<R> {
        let user = self.user.read().unwrap_or_else(PoisonError::into_inner);
        user.map(|user| f(user.0))
    }

    pub fn notify(&self) {
        // SAFETY: a complete table of callbacks, and the user pointer is valid while not closed.
        self.with_user(|user| unsafe { (self.host.notify)(self.host.user, user) });
    }

    pub fn abandoned(&self, id: u64) {
        // SAFETY: as above.
        self.with_user(|user| unsafe { (self.host.abandoned)(self.host.user, user, id) });
    }

    /// Non-zero: the host refused.
    pub fn call(&self, request: *const AbHostRequest, call: *mut AbCall) -> i32 {
        // SAFETY: as above; request and call are valid, `issue` sees to it.
        self.with_user(|user| unsafe { (self.host.call)(self.host.user, user, request, call) })
            .unwrap_or(1)
    }

    pub fn log(&self, level: AbLogLevel, message: &str) -> Result<(), Stop> {
        self.count_in(message.len() as u64);
        // SAFETY: as above.
        let refused = self.with_user(|user| unsafe {
            (self.host.log)(self.host.user, user, level, message.into())
        });
        refusal(refused, "a log line was refused")
    }

    pub fn stdio(&self, fd: i32, bytes: &[u8]) -> Result<(), Stop> {
        self.count_in(bytes.len() as u64);
        if fd == 2 {
            self.keep_stderr(bytes);
        }
        // SAFETY: as above.
        let refused = self
            .with_user(|user| unsafe { (self.host.stdio)(self.host.user, user, fd, bytes.into()) });
        refusal(refused, "standard output or error was refused")
    }

    fn keep_stderr(&self, bytes: &[u8]) {
        let mut tail = lock(&self.stderr);
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_TAIL)..];
        let surplus = (tail.len() + bytes.len()).saturating_sub(STDERR_TAIL);
        tail.drain(..surplus);
        tail.extend(bytes);
    }

    /// The end of what the guest wrote to standard error.
    pub fn stderr_tail(&self) -> String {
        let mut tail = lock(&self.stderr);
        String::from_utf8_lossy(tail.make_contiguous()).trim_end().to_owned()
    }

    pub fn count_call(&self, bytes: u64) -> u64 {
        self.host_calls.fetch_add(1, Ordering::Relaxed);
        self.count_in(bytes);
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }

    fn count_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn count_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Asks the next poll to end the execution.
    pub fn request_abort(self: &Arc<Self>, reason: String) {
        lock(&self.abort).get_or_insert(reason);
        self.wake_by_ref();
    }

    pub fn take_abort(&self) -> Option<String> {
        lock(&self.abort).take()
    }

    /// A request of `wasi:http`, which is assembled on the timer thread, waits for the next poll:
    /// callbacks are made on the strand only.
    pub fn queue_fetch(self: &Arc<Self>, fetch: QueuedFetch) {
        match lock(&self.fetches).as_mut() {
            Some(queue) => queue.push(fetch),
            None => return,
        }
        self.wake_by_ref();
    }

    /// Drops what is queued, now and from now on, and abandons what is under way.
    pub fn give_up_fetches(&self) {
        let queued = lock(&self.fetches).take();
        drop(queued);
        let issued = std::mem::take(&mut *lock(&self.issued));
        for id in issued.iter().filter_map(Waiting::give_up) {
            self.abandoned(id);
        }
    }

    /// Issues what was queued.
    pub fn issue_fetches(self: &Arc<Self>) {
        let queued = lock(&self.fetches).as_mut().map(std::mem::take).unwrap_or_default();
        for fetch in queued {
            let issued = issue(self, fetch.request);
            drop(fetch.share);
            match issued {
                Ok(future) => {
                    let mut calls = lock(&self.issued);
                    calls.retain(|call| !call.is_over());
                    calls.push(future.waiting());
                    drop(calls);
                    drop(fetch.reply.send(future));
                }
                Err(reason) => {
                    lock(&self.abort).get_or_insert(reason);
                }
            }
        }
    }
}

fn refusal(answer: Option<i32>, reason: &str) -> Result<(), Stop> {
    match answer {
        Some(0) => Ok(()),
        _ => Err(Stop::Host(reason.to_owned())),
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.wake.wake() {
            self.notify();
        }
    }
}

/// What the store of an execution holds.
pub struct Guest {
    pub shared: Arc<Shared>,
    pub limiter: Limiter,
    pub wasi: WasiCtx,
    pub table: ResourceTable,
    pub http: WasiHttpCtx,
    pub hooks: HttpHooks,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Makes a host call on behalf of the guest and waits for its answer. The outer error ends the
/// execution, the inner one goes to the guest.
pub async fn host_call(
    shared: Arc<Shared>,
    request: HostRequest,
) -> wasmtime::Result<Result<HostValue, crate::abi::HostError>> {
    let future = issue(&shared, request).map_err(Stop::Host)?;
    match future.await {
        Completion::Value(value) => Ok(Ok(value)),
        Completion::Error(error) => Ok(Err(error)),
        Completion::Abort(reason) => Err(Stop::Host(reason).into()),
    }
}

/// Tells the host that the guest called something this product answers with a refusal.
pub fn unoffered(shared: &Shared, function: &str) -> Result<(), Stop> {
    shared.count_call(0);
    let request = AbHostRequest {
        op: AbOp::Unoffered,
        via: AbVia::Compat,
        key: AbStr::from(function),
        body: AbStr::EMPTY,
        has_body: 0,
        http: std::ptr::null(),
        storage: std::ptr::null(),
    };
    refusal(Some(shared.call(&request, std::ptr::null_mut())), "the host refused a call")
}
