//! Executions: a store, an instance and a call, driven by `ab_exec_poll`.

use crate::abi::*;
use crate::component::{AbComponent, Entry};
use crate::engine::timers;
use crate::error::{AbError, guard, panic_text, quiet};
use crate::guest::{Guest, Shared};
use crate::legacy;
use crate::limits::Limiter;
use crate::link::types::{ExecuteRequest, ExecuteResponse, HttpHeader, HttpRequest};
use crate::outcome::{Outcome, while_instantiating};
use crate::wasi;
use crate::wasi_http::HttpHooks;
use bytes::Bytes;
use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use wasmtime::component::{ComponentExportIndex, Func, Instance, ResourceTable, TypedFunc};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi_http::WasiHttpCtx;

static LIVE: AtomicU64 = AtomicU64::new(0);

/// What is left of the guest when it has ended.
struct Finished {
    outcome: Outcome,
    peak_memory: u64,
    peak_tables: u64,
    memory_denied: bool,
    table_denied: bool,
    /// Given back by `ab_exec_free`, so that the answer does not wait for it. `None` after a panic.
    store: Option<Store<Guest>>,
}

type GuestFuture = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// Measured while polling; shared with the future, which notes when the instance is ready.
#[derive(Default)]
struct Clock {
    /// Nanoseconds inside polls that have ended.
    spent: AtomicU64,
    /// Start of the current poll, since the execution was made.
    poll_started: AtomicU64,
    instantiated: AtomicU64,
    /// Ticks of the engine when the current poll began.
    tick: AtomicU64,
}

impl Clock {
    fn polled(&self, born: Instant) -> u64 {
        let now = born.elapsed().as_nanos() as u64;
        self.spent.load(Ordering::Relaxed)
            + now.saturating_sub(self.poll_started.load(Ordering::Relaxed))
    }
}

/// `ab_exec`.
pub struct AbExec {
    shared: Arc<Shared>,
    waker: Waker,
    /// `None` once ended.
    guest: Option<GuestFuture>,
    finished: Option<Finished>,
    born: Instant,
    clock: Arc<Clock>,
    polls: u32,
    ticks: Arc<AtomicU64>,
}

/// # Safety
/// All views in `request` are valid; its body is already taken out.
unsafe fn copy_request(request: &AbExecuteRequest, body: Bytes) -> ExecuteRequest {
    // SAFETY: promised by the caller.
    unsafe {
        ExecuteRequest {
            context: request.context.to_record(),
            http: HttpRequest {
                method: request.method.to_text(),
                url: request.url.to_text(),
                headers: HttpHeader::list(request.headers, request.n_headers),
                body: (request.has_body != 0).then_some(body),
            },
        }
    }
}

fn store(
    component: &AbComponent,
    limits: &AbLimits,
    shared: &Arc<Shared>,
    clock: &Arc<Clock>,
) -> Store<Guest> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.resource_handles as usize);
    let mut http = WasiHttpCtx::new();
    let header_bytes = usize::try_from(limits.response_header_bytes).unwrap_or(usize::MAX);
    // This limit counts bookkeeping too, hence the factor.
    http.set_field_size_limit(header_bytes.saturating_mul(2));
    let host_call_bytes = usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX);
    let guest = Guest {
        shared: shared.clone(),
        limiter: Limiter::new(limits, component.engine.max_memory_bytes),
        wasi: wasi::context(shared),
        table,
        http,
        hooks: HttpHooks { shared: shared.clone(), limit: host_call_bytes },
    };
    let mut store = Store::new(&component.engine.engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(host_call_bytes);
    store.set_max_component_handles(limits.resource_handles as usize);
    store.set_epoch_deadline(1);
    let (ticks, clock) = (component.engine.ticks.clone(), clock.clone());
    store.epoch_deadline_callback(move |store| {
        // Nor is, for a guest that has just begun, the first tick: it may have come at once, and a
        // guest that gives its place away half done takes one more slot.
        let shared = &store.data().shared;
        let slice = if shared.yields.load(Ordering::Relaxed) == 0 { 2 } else { 1 };
        let begun = clock.tick.load(Ordering::Relaxed);
        if ticks.load(Ordering::Relaxed).wrapping_sub(begun) < slice {
            return Ok(UpdateDeadline::Continue(1));
        }
        shared.yields.fetch_add(1, Ordering::Relaxed);
        shared.yielded.store(true, Ordering::Relaxed);
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

impl AbExec {
    fn new(
        component: Arc<AbComponent>,
        limits: AbLimits,
        request: ExecuteRequest,
        exec_user: *mut c_void,
    ) -> Result<AbExec, AbError> {
        let running = component.engine.running.as_ref();
        let host = running.ok_or_else(|| AbError::invalid("this engine runs no guests"))?.host;
        let shared = Arc::new(Shared::new(host, exec_user));
        let clock = Arc::new(Clock::default());
        let born = Instant::now();
        let store = store(&component, &limits, &shared, &clock);
        let ticks = component.engine.ticks.clone();
        let run = run(component, store, limits, request, clock.clone(), born);
        LIVE.fetch_add(1, Ordering::Relaxed);
        Ok(AbExec {
            waker: Waker::from(shared.clone()),
            shared,
            guest: Some(Box::pin(run)),
            finished: None,
            born,
            clock,
            polls: 0,
            ticks,
        })
    }

    fn poll(&mut self) -> AbPoll {
        if self.guest.is_none() || !self.shared.wake.begin_poll() {
            return AbPoll::Ready;
        }
        self.polls += 1;
        let started = self.born.elapsed().as_nanos() as u64;
        self.clock.poll_started.store(started, Ordering::Relaxed);
        let tick = self.ticks.load(Ordering::Relaxed);
        self.clock.tick.store(tick, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| self.poll_guest()));
        let spent = self.clock.polled(self.born);
        self.clock.spent.store(spent, Ordering::Relaxed);
        match result {
            Ok(Poll::Ready(finished)) => self.finish(finished),
            Ok(Poll::Pending) => {
                if self.shared.yielded.swap(false, Ordering::Relaxed) {
                    self.shared.wake.end_yielded();
                } else if self.shared.wake.end_waiting() {
                    return AbPoll::Pending;
                }
                AbPoll::Yielded
            }
            Err(payload) => {
                let text = panic_text(payload.as_ref()).to_owned();
                self.finish(ended(Outcome::new(AbEnd::Panic, text)))
            }
        }
    }

    fn poll_guest(&mut self) -> Poll<Finished> {
        let _timers = timers().enter();
        self.shared.issue_fetches();
        if let Some(reason) = self.shared.take_abort() {
            return Poll::Ready(ended(Outcome::new(AbEnd::Host, reason)));
        }
        let guest = self.guest.as_mut().expect("checked in `poll`");
        guest.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    fn finish(&mut self, finished: Finished) -> AbPoll {
        self.shared.wake.finish();
        self.drop_guest();
        self.finished = Some(finished);
        AbPoll::Ready
    }

    /// Unwinds the guest wherever it stands and frees its store.
    fn drop_guest(&mut self) {
        // A callback of the host may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| self.shared.give_up_fetches()));
        let store = self.finished.as_mut().and_then(|finished| finished.store.take());
        let guest = self.guest.take();
        if guest.is_some() || store.is_some() {
            let _timers = timers().enter();
            // A second panic while unwinding must not reach C.
            let _ = catch_unwind(AssertUnwindSafe(|| drop((guest, store))));
        }
    }

    fn stats(&self) -> AbStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let poll_ns = load(&self.clock.spent);
        let instantiate_ns = load(&self.clock.instantiated);
        let finished = self.finished.as_ref();
        AbStats {
            instantiate_ns,
            call_ns: if instantiate_ns == 0 { 0 } else { poll_ns.saturating_sub(instantiate_ns) },
            poll_ns,
            peak_memory_bytes: finished.map_or(0, |f| f.peak_memory),
            peak_table_elements: finished.map_or(0, |f| f.peak_tables),
            host_bytes_in: load(&self.shared.bytes_in),
            host_bytes_out: load(&self.shared.bytes_out),
            host_calls: self.shared.host_calls.load(Ordering::Relaxed),
            polls: self.polls,
            yields: self.shared.yields.load(Ordering::Relaxed),
            memory_denied: finished.is_some_and(|f| f.memory_denied).into(),
            table_denied: finished.is_some_and(|f| f.table_denied).into(),
        }
    }
}

impl Drop for AbExec {
    fn drop(&mut self) {
        self.shared.wake.finish();
        self.drop_guest();
        self.shared.close();
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

fn ended(outcome: Outcome) -> Finished {
    Finished {
        outcome,
        peak_memory: 0,
        peak_tables: 0,
        memory_denied: false,
        table_denied: false,
        store: None,
    }
}

/// The whole life of a guest. Owns its store, so that dropping this future ends everything; an end of
/// its own hands the store over.
async fn run(
    component: Arc<AbComponent>,
    mut store: Store<Guest>,
    limits: AbLimits,
    request: ExecuteRequest,
    clock: Arc<Clock>,
    born: Instant,
) -> Finished {
    let result = call(&component, &mut store, request, &clock, born).await;
    let guest = store.data_mut();
    let outcome = match result {
        Ok(response) => Outcome::answered(response, &limits),
        Err(error) => Outcome::failed(&error, &guest.shared.stderr_tail()),
    };
    Finished {
        outcome,
        peak_memory: guest.limiter.peak_memory(),
        peak_tables: guest.limiter.peak_tables(),
        memory_denied: guest.limiter.memory_denied(),
        table_denied: guest.limiter.table_denied(),
        store: Some(store),
    }
}

async fn call(
    component: &AbComponent,
    store: &mut Store<Guest>,
    request: ExecuteRequest,
    clock: &Clock,
    born: Instant,
) -> wasmtime::Result<ExecuteResponse> {
    let instance =
        component.pre.instantiate_async(&mut *store).await.map_err(while_instantiating)?;
    clock.instantiated.store(clock.polled(born), Ordering::Relaxed);
    match &component.entry {
        Entry::Handler(index) => {
            // SAFETY: the type of this export was checked when the component was loaded.
            let handler: TypedFunc<(ExecuteRequest,), (ExecuteResponse,)> =
                unsafe { TypedFunc::new_unchecked(export(&instance, store, index)?) };
            let (response,) = handler.call_async(&mut *store, (request,)).await?;
            Ok(response)
        }
        Entry::Legacy(index) => {
            // SAFETY: as above.
            let invoke: TypedFunc<(Bytes,), (Result<Bytes, i32>,)> =
                unsafe { TypedFunc::new_unchecked(export(&instance, store, index)?) };
            let json = legacy::request_json(&request);
            match invoke.call_async(&mut *store, (json,)).await? {
                (Ok(response),) => legacy::response(response),
                (Err(code),) => wasmtime::bail!("the handler returned {code}"),
            }
        }
    }
}

fn export(
    instance: &Instance,
    store: &mut Store<Guest>,
    index: &ComponentExportIndex,
) -> wasmtime::Result<Func> {
    let function = instance.get_func(store, index);
    function.ok_or_else(|| wasmtime::Error::msg("the handler export is gone"))
}

/// # Safety
/// As in the header; `request->body` is consumed in every case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_exec_new(
    component: *mut AbComponent,
    limits: *const AbLimits,
    request: *const AbExecuteRequest,
    exec_user: *mut c_void,
    out: *mut *mut AbExec,
    error: *mut *mut AbError,
) -> AbStatus {
    // SAFETY: pointers are NULL or valid, promised by the caller; the body is moved out once.
    unsafe {
        guard(error, || {
            let request = request.as_ref().ok_or_else(|| AbError::invalid("request is NULL"))?;
            let body = std::ptr::read(&request.body).into_bytes();
            let limits = *limits.as_ref().ok_or_else(|| AbError::invalid("limits is NULL"))?;
            if component.is_null() || out.is_null() {
                return Err(AbError::invalid("component or out is NULL"));
            }
            Arc::increment_strong_count(component);
            let component = Arc::from_raw(component);
            let exec = AbExec::new(component, limits, copy_request(request, body), exec_user)?;
            out.write(Box::into_raw(Box::new(exec)));
            Ok(())
        })
    }
}

/// # Safety
/// `exec` is NULL or not freed; calls on one execution do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_exec_poll(exec: *mut AbExec) -> AbPoll {
    // SAFETY: promised by the caller.
    let Some(exec) = (unsafe { exec.as_mut() }) else {
        return AbPoll::Ready;
    };
    catch_unwind(AssertUnwindSafe(|| exec.poll())).unwrap_or(AbPoll::Ready)
}

/// # Safety
/// As for [`ab_exec_poll`]; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_exec_outcome(exec: *const AbExec, out: *mut AbOutcome) {
    if out.is_null() {
        return;
    }
    // SAFETY: promised by the caller.
    let finished = unsafe { exec.as_ref() }.and_then(|exec| exec.finished.as_ref());
    let view = match finished {
        Some(finished) => finished.outcome.view(),
        None => AbOutcome {
            end: AbEnd::Internal,
            trap_code: -1,
            message: "the execution has not ended".into(),
            backtrace: AbStr::EMPTY,
            status: 0,
            headers: std::ptr::null(),
            n_headers: 0,
            body: AbStr::EMPTY,
            has_body: 0,
            limit: AbStr::EMPTY,
        },
    };
    // SAFETY: writable, promised by the caller.
    unsafe { out.write(view) };
}

/// # Safety
/// As for [`ab_exec_outcome`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_exec_stats(exec: *const AbExec, out: *mut AbStats) {
    if !out.is_null() {
        // SAFETY: promised by the caller.
        let stats = unsafe { exec.as_ref() }.map_or_else(AbStats::default, AbExec::stats);
        // SAFETY: writable, promised by the caller.
        unsafe { out.write(stats) };
    }
}

/// # Safety
/// `exec` is NULL or not freed; calls on one execution do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_exec_free(exec: *mut AbExec) {
    if !exec.is_null() {
        // SAFETY: promised by the caller; came from Box::into_raw.
        quiet(|| drop(unsafe { Box::from_raw(exec) }));
    }
}

/// Executions not yet freed.
#[unsafe(no_mangle)]
pub extern "C" fn ab_live_executions() -> u64 {
    LIVE.load(Ordering::Relaxed)
}
