//! A host for tests: drives the bridge through its C functions only.
#![allow(dead_code)] // each test file uses its part

pub mod guests;
pub mod http;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use alga_bridge::component::*;
use alga_bridge::engine::*;
use alga_bridge::error::*;
use alga_bridge::exec::*;
use std::ffi::c_void;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for a notification before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn text(view: AbStr) -> String {
    String::from_utf8(unsafe { view.bytes() }.to_vec()).expect("UTF-8")
}

/// Takes the error out, frees it, and returns its kind and text.
pub fn take_error(error: *mut AbError) -> (AbStatus, String) {
    if error.is_null() {
        return (AbStatus::Ok, String::new());
    }
    let taken = unsafe { (ab_error_status(error), text(ab_error_message(error))) };
    unsafe { ab_error_free(error) };
    taken
}

pub fn take_owned(owned: AbOwned) -> Vec<u8> {
    unsafe { owned.into_bytes() }.to_vec()
}

/// What `work` returns. A test whose product hangs fails instead of hanging, too.
pub fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(PATIENCE).expect("it panics or hangs")
}

/// Counts the buffers that the product was given and has not released yet.
#[derive(Clone, Default)]
pub struct Lent(Arc<AtomicU64>);

impl Lent {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn lend(&self, bytes: Vec<u8>) -> AbOwned {
        struct Buffer(Vec<u8>, Lent);
        unsafe extern "C-unwind" fn release(ctx: *mut c_void) {
            let Buffer(_, lent) = *unsafe { Box::from_raw(ctx.cast::<Buffer>()) };
            lent.0.fetch_sub(1, Ordering::SeqCst);
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        let buffer = Box::new(Buffer(bytes, self.clone()));
        AbOwned {
            data: buffer.0.as_ptr(),
            len: buffer.0.len(),
            release: Some(release),
            ctx: Box::into_raw(buffer).cast(),
        }
    }
}

/// Callbacks that were made, or still ran, after `ab_exec_free`. They may come on any thread, where a
/// panic would not fail the test: what has the record does when it is done with it.
#[derive(Default)]
struct Late(AtomicU64);

impl Drop for Late {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(*self.0.get_mut(), 0, "callbacks after ab_exec_free");
        }
    }
}

pub type NotifyHandler = Box<dyn Fn() + Send + Sync>;
pub type AbandonedHandler = Box<dyn Fn(u64) + Send + Sync>;
pub type CallHandler = Box<dyn Fn(&AbHostRequest, *mut AbCall) -> i32 + Send + Sync>;

/// What one execution did, as its callbacks saw it.
#[derive(Default)]
pub struct Record {
    notified: Mutex<u64>,
    signal: Condvar,
    pub logs: Mutex<Vec<(AbLogLevel, String)>>,
    pub output: Mutex<Vec<(i32, Vec<u8>)>>,
    pub abandoned: Mutex<Vec<u64>>,
    pub ops: Mutex<Vec<(AbOp, AbVia, String)>>,
    pub refuse_logs: AtomicBool,
    /// The body of the request.
    pub lent: Lent,
    closed: AtomicBool,
    late: Late,
    pub call: Option<CallHandler>,
    pub on_notify: Option<NotifyHandler>,
    pub on_abandoned: Option<AbandonedHandler>,
}

impl Record {
    pub fn notifications(&self) -> u64 {
        *self.notified.lock().unwrap()
    }

    /// Waits for a notification beyond the first `seen`.
    pub fn wait(&self, seen: u64) {
        let guard = self.notified.lock().unwrap();
        let (_guard, timeout) =
            self.signal.wait_timeout_while(guard, PATIENCE, |count| *count == seen).unwrap();
        assert!(!timeout.timed_out(), "no notification came");
    }

    pub fn stderr(&self) -> String {
        let output = self.output.lock().unwrap();
        let pieces = output.iter().filter(|(fd, _)| *fd == 2).flat_map(|(_, bytes)| bytes);
        String::from_utf8_lossy(&pieces.copied().collect::<Vec<u8>>()).into_owned()
    }

    fn note_if_late(&self) {
        if self.closed.load(Ordering::SeqCst) {
            self.late.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub fn ops(&self) -> Vec<AbOp> {
        self.ops.lock().unwrap().iter().map(|(op, _, _)| *op).collect()
    }
}

unsafe fn record<'a>(user: *mut c_void) -> &'a Record {
    let record = unsafe { &*user.cast::<Record>() };
    record.note_if_late();
    record
}

unsafe extern "C-unwind" fn notify(_host: *mut c_void, user: *mut c_void) {
    let record = unsafe { record(user) };
    if let Some(handler) = &record.on_notify {
        handler();
        record.note_if_late();
    }
    *record.notified.lock().unwrap() += 1;
    record.signal.notify_all();
}

unsafe extern "C-unwind" fn call(
    _host: *mut c_void,
    user: *mut c_void,
    request: *const AbHostRequest,
    call: *mut AbCall,
) -> i32 {
    let (record, request) = unsafe { (record(user), &*request) };
    record.ops.lock().unwrap().push((request.op, request.via, text(request.key)));
    match &record.call {
        _ if call.is_null() => 0,
        Some(handler) => handler(request, call),
        None => {
            unsafe { ab_call_err(call, 1) };
            0
        }
    }
}

unsafe extern "C-unwind" fn abandoned(_host: *mut c_void, user: *mut c_void, id: u64) {
    let record = unsafe { record(user) };
    record.abandoned.lock().unwrap().push(id);
    if let Some(handler) = &record.on_abandoned {
        handler(id);
    }
}

unsafe extern "C-unwind" fn log(
    _host: *mut c_void,
    user: *mut c_void,
    level: AbLogLevel,
    message: AbStr,
) -> i32 {
    let record = unsafe { record(user) };
    record.logs.lock().unwrap().push((level, text(message)));
    record.refuse_logs.load(Ordering::Relaxed).into()
}

unsafe extern "C-unwind" fn stdio(
    _host: *mut c_void,
    user: *mut c_void,
    fd: i32,
    bytes: AbView,
) -> i32 {
    let bytes = unsafe { bytes.bytes() }.to_vec();
    unsafe { record(user) }.output.lock().unwrap().push((fd, bytes));
    0
}

pub fn callbacks() -> AbHost {
    AbHost {
        abi: AB_ABI_VERSION,
        user: null_mut(),
        notify: Some(notify),
        call: Some(call),
        abandoned: Some(abandoned),
        log: Some(log),
        stdio: Some(stdio),
    }
}

pub fn default_config() -> AbEngineConfig {
    let mut config = std::mem::MaybeUninit::uninit();
    unsafe {
        ab_engine_config_default(config.as_mut_ptr());
        let mut config = config.assume_init();
        config.max_executions = 16;
        config
    }
}

pub fn limits() -> AbLimits {
    AbLimits {
        memory_bytes: 64 << 20,
        table_elements: 20_000,
        resource_handles: 1000,
        host_call_bytes: 8 << 20,
        response_bytes: 8 << 20,
        response_headers: 100,
        response_header_bytes: 64 << 10,
    }
}

/// An engine with a ticker.
pub struct Engine {
    pub raw: *mut AbEngine,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

struct Sendable<T>(T);
unsafe impl<T> Send for Sendable<T> {}

impl Engine {
    pub fn new() -> Engine {
        Engine::with(&default_config())
    }

    pub fn with(config: &AbEngineConfig) -> Engine {
        let (mut raw, mut error) = (null_mut(), null_mut());
        let host = callbacks();
        let status = unsafe { ab_engine_new(config, &host, &mut raw, &mut error) };
        assert_eq!(status, AbStatus::Ok, "{:?}", take_error(error));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (Sendable(raw), stop.clone());
        let ticker = std::thread::spawn(move || {
            let (Sendable(engine), stop) = { shared };
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                unsafe { ab_engine_tick(engine) };
            }
        });
        Engine { raw, stop, ticker: Some(ticker) }
    }

    pub fn precompile(&self, wasm: &[u8]) -> Result<Vec<u8>, (AbStatus, String)> {
        let (mut artefact, mut error) = (AbOwned::EMPTY, null_mut());
        match unsafe { ab_precompile(self.raw, wasm.into(), &mut artefact, &mut error) } {
            AbStatus::Ok => Ok(take_owned(artefact)),
            _ => Err(take_error(error)),
        }
    }

    pub fn load_artefact(&self, artefact: &[u8]) -> Result<Component, (AbStatus, String)> {
        let mut file = unnamed_file();
        file.write_all(artefact).expect("room for the artefact");
        file.rewind().expect("seekable");
        let (mut raw, mut error) = (null_mut(), null_mut());
        match unsafe { ab_component_load_fd(self.raw, file.as_raw_fd(), &mut raw, &mut error) } {
            AbStatus::Ok => Ok(Component { raw }),
            _ => Err(take_error(error)),
        }
    }

    pub fn try_load(&self, wasm: &[u8]) -> Result<Component, (AbStatus, String)> {
        self.load_artefact(&self.precompile(wasm)?)
    }

    pub fn load(&self, wasm: &[u8]) -> Component {
        self.try_load(wasm).expect("the guest links")
    }

    pub fn pool(&self) -> AbPoolStats {
        let mut stats = AbPoolStats::default();
        unsafe { ab_engine_pool_stats(self.raw, &mut stats) };
        stats
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.ticker.take().expect("set").join().expect("the ticker ends");
        unsafe { ab_engine_free(self.raw) };
    }
}

fn unnamed_file() -> std::fs::File {
    let path = std::env::temp_dir().join(format!(
        "alga-bridge-test-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a temporary file");
    std::fs::remove_file(path).expect("its name can go");
    file
}

pub struct Component {
    pub raw: *mut AbComponent,
}

unsafe impl Send for Component {}
unsafe impl Sync for Component {}

impl Drop for Component {
    fn drop(&mut self) {
        unsafe { ab_component_release(self.raw) };
    }
}

/// What to run, with defaults.
pub struct Run {
    pub url: String,
    pub body: Option<Vec<u8>>,
    pub headers: Vec<(String, String)>,
    pub limits: AbLimits,
    pub call: Option<CallHandler>,
    pub on_notify: Option<NotifyHandler>,
    pub on_abandoned: Option<AbandonedHandler>,
    pub refuse_logs: bool,
    /// Gives up (by freeing the execution) after that many yields.
    pub max_yields: Option<u32>,
}

impl Run {
    pub fn get(url: &str) -> Run {
        Run {
            url: url.to_owned(),
            body: None,
            headers: Vec::new(),
            limits: limits(),
            call: None,
            on_notify: None,
            on_abandoned: None,
            refuse_logs: false,
            max_yields: None,
        }
    }

    pub fn body(mut self, body: &[u8]) -> Run {
        self.body = Some(body.to_vec());
        self
    }

    pub fn limits(mut self, change: impl FnOnce(&mut AbLimits)) -> Run {
        change(&mut self.limits);
        self
    }

    pub fn on_call(
        mut self,
        handler: impl Fn(&AbHostRequest, *mut AbCall) -> i32 + Send + Sync + 'static,
    ) -> Run {
        self.call = Some(Box::new(handler));
        self
    }

    pub fn start(self, component: &Component) -> Exec {
        Exec::new(component, self)
    }

    pub fn finish(self, component: &Component) -> Ended {
        let mut exec = self.start(component);
        exec.run();
        exec.ended()
    }
}

pub struct Exec {
    pub raw: *mut AbExec,
    pub record: Box<Record>,
    max_yields: Option<u32>,
}

unsafe impl Send for Exec {}

/// How an execution ended.
#[derive(Debug)]
pub struct Ended {
    pub end: AbEnd,
    pub limit: String,
    pub trap_code: i32,
    pub message: String,
    pub backtrace: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    pub stats: AbStats,
}

impl Ended {
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.end, AbEnd::Ok, "{self:?}");
        let body = self.body.as_deref().expect("a body");
        serde_json::from_slice(body).expect("JSON")
    }
}

fn view(text: &str) -> AbStr {
    text.into()
}

impl Exec {
    fn new(component: &Component, run: Run) -> Exec {
        let record = Box::new(Record {
            call: run.call,
            on_notify: run.on_notify,
            on_abandoned: run.on_abandoned,
            refuse_logs: AtomicBool::new(run.refuse_logs),
            ..Record::default()
        });
        let headers: Vec<AbPair> = run
            .headers
            .iter()
            .map(|(name, value)| AbPair { name: view(name), value: view(value) })
            .collect();
        let has_body = run.body.is_some().into();
        let request = AbExecuteRequest {
            context: AbContext {
                request_id: view("request-1"),
                tenant_id: view("tenant-1"),
                extension_id: view("extension-1"),
                install_id: view("install-1"),
                version_id: AbStr::EMPTY,
                has_request_id: 1,
                has_install_id: 1,
                has_version_id: 0,
            },
            method: view("POST"),
            url: view(&run.url),
            headers: if headers.is_empty() { null() } else { headers.as_ptr() },
            n_headers: headers.len(),
            body: run.body.map_or(AbOwned::EMPTY, |body| record.lent.lend(body)),
            has_body,
        };
        let (mut raw, mut error) = (null_mut(), null_mut());
        let user = (&raw const *record).cast_mut().cast();
        let status = unsafe {
            ab_exec_new(component.raw, &run.limits, &request, user, &mut raw, &mut error)
        };
        assert_eq!(status, AbStatus::Ok, "{:?}", take_error(error));
        Exec { raw, record, max_yields: run.max_yields }
    }

    pub fn poll(&mut self) -> AbPoll {
        unsafe { ab_exec_poll(self.raw) }
    }

    /// Polls until the guest waits or has ended: on a busy machine a slice may end at any poll.
    pub fn settle(&mut self) -> AbPoll {
        loop {
            match self.poll() {
                AbPoll::Yielded => continue,
                settled => return settled,
            }
        }
    }

    /// Polls as a good host does: after a yield at once, after a wait when notified.
    pub fn run(&mut self) {
        let mut yields = 0;
        loop {
            let seen = self.record.notifications();
            match self.poll() {
                AbPoll::Ready => return,
                AbPoll::Yielded => yields += 1,
                AbPoll::Pending => self.record.wait(seen),
            }
            if self.max_yields.is_some_and(|max| yields >= max) {
                return;
            }
        }
    }

    pub fn stats(&self) -> AbStats {
        let mut stats = AbStats::default();
        unsafe { ab_exec_stats(self.raw, &mut stats) };
        stats
    }

    pub fn ended(&self) -> Ended {
        let mut outcome = std::mem::MaybeUninit::<AbOutcome>::uninit();
        let outcome = unsafe {
            ab_exec_outcome(self.raw, outcome.as_mut_ptr());
            outcome.assume_init()
        };
        Ended {
            end: outcome.end,
            limit: text(outcome.limit),
            trap_code: outcome.trap_code,
            message: text(outcome.message),
            backtrace: text(outcome.backtrace),
            status: outcome.status,
            headers: unsafe { pairs(outcome.headers, outcome.n_headers) },
            body: (outcome.has_body != 0).then(|| unsafe { outcome.body.bytes() }.to_vec()),
            stats: self.stats(),
        }
    }

    /// Frees the execution; a callback afterwards fails the test when the record is dropped.
    pub fn free(self) -> Box<Record> {
        let mut exec = std::mem::ManuallyDrop::new(self);
        unsafe { ab_exec_free(exec.raw) };
        exec.raw = null_mut();
        // SAFETY: moved out once; `exec` is never dropped.
        let record = unsafe { std::ptr::read(&exec.record) };
        record.closed.store(true, Ordering::SeqCst);
        record
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        unsafe { ab_exec_free(self.raw) };
        self.record.closed.store(true, Ordering::SeqCst);
    }
}
