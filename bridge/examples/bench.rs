//! What an execution costs: in a bare loop over the same crates, and through the bridge.
//!
//! ```text
//! bench compile FILE                        time, memory and size of compiling a component
//! bench bare    FILE URL COUNT [THREADS]    a plain loop: fresh store, same limits, epochs, fibers
//! bench bridge  FILE URL COUNT [THREADS]    the same through the C functions of this library
//! bench drop    FILE URL COUNT              how long freeing a running execution takes
//! ```
//!
//! Environment: `KEEP_RESIDENT`, `STACK_ZEROING`, `TICK_US` (0: no ticker), `DECOMMIT_BATCH`, `POOLING`,
//! `PAGEMAP` (1: `pagemap_scan`, bare loop only), `CONCURRENCY` (1: `concurrency_support`, bare loop with
//! the feature of that name only), `REPEAT`, and `ARTEFACT`, a file that keeps the compiled
//! component between runs. `@text` as FILE is a guest of a few instructions. Interfaces of
//! the product are traps in the bare loop and denied in the bridge, so measure a URL of a guest that
//! calls none.

#[path = "../tests/host/mod.rs"]
mod host;

use alga_bridge::abi::*;
use host::{Component as Loaded, Engine as Bridge, Run};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, InstancePre, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter,
    Store, UpdateDeadline, WasmBacktraceDetails,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect(name),
        Err(_) => default,
    }
}

/// Settings of the engine, from the environment, the same in both loops.
fn config() -> AbEngineConfig {
    let mut config = host::default_config();
    config.max_executions = 256;
    config.memory_keep_resident = setting("KEEP_RESIDENT", config.memory_keep_resident);
    config.async_stack_zeroing = setting("STACK_ZEROING", config.async_stack_zeroing.into()) as u8;
    config.decommit_batch = setting("DECOMMIT_BATCH", config.decommit_batch.into()) as u32;
    config.pooling = setting("POOLING", 1) as u8;
    config
}

fn limits() -> AbLimits {
    AbLimits { memory_bytes: 256 << 20, ..host::limits() }
}

/// The component in a file; `@text` stands for a guest of a few instructions.
fn component_bytes(file: &str) -> Vec<u8> {
    match file {
        "@text" => host::guests::plain(host::guests::ECHO),
        _ => std::fs::read(file).expect(file),
    }
}

/// Where the compiled form of a component is: `ARTEFACT`, compiled when it is not there yet.
fn artefact(file: &str, compile: impl Fn(&[u8]) -> Vec<u8>) -> std::path::PathBuf {
    let fallback = || std::env::temp_dir().join(format!("bench-{}.cwasm", std::process::id()));
    let path = std::env::var_os("ARTEFACT").map_or_else(fallback, Into::into);
    if !path.exists() {
        std::fs::write(&path, compile(&component_bytes(file))).expect("written");
    }
    path
}

/// CPU time and page faults of this process so far.
fn usage() -> (Duration, i64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: a valid buffer for the structure that getrusage fills.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_minflt)
}

fn peak_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).expect("size").parse::<u64>().expect("size") / 1024
}

/// Runs `once` `count` times on each thread and prints what one run costs.
fn measure(name: &str, count: usize, threads: usize, once: &(dyn Fn() + Sync)) {
    for _ in 0..count.min(200) {
        once();
    }
    for _ in 0..setting("REPEAT", 1) {
        measure_once(name, count, threads, once);
    }
}

fn measure_once(name: &str, count: usize, threads: usize, once: &(dyn Fn() + Sync)) {
    let (cpu, faults) = usage();
    let started = Instant::now();
    let mut samples: Vec<Duration> = std::thread::scope(|scope| {
        let run = || {
            let sample = |_| {
                let started = Instant::now();
                once();
                started.elapsed()
            };
            (0..count).map(sample).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    let wall = started.elapsed();
    let (cpu_after, faults_after) = usage();
    samples.sort();
    let total = samples.len();
    let micros = |d: Duration| d.as_nanos() as f64 / 1000.0;
    let quantile = |q: f64| micros(samples[((total as f64 * q) as usize).min(total - 1)]);
    println!(
        "{name:7} threads={threads:<3} n={total:<7} cpu/iter={:8.1}us p50={:8.1}us p99={:8.1}us p99.9={:8.1}us rate={:7.0}/s faults/iter={:5.1}",
        micros(cpu_after - cpu) / total as f64,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        total as f64 / wall.as_secs_f64(),
        (faults_after - faults) as f64 / total as f64,
    );
}

// ---- the bare loop --------------------------------------------------------------------------------

#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct Header {
    name: String,
    value: String,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
struct Context {
    #[component(name = "request-id")]
    request_id: Option<String>,
    #[component(name = "tenant-id")]
    tenant_id: String,
    #[component(name = "extension-id")]
    extension_id: String,
    #[component(name = "install-id")]
    install_id: Option<String>,
    #[component(name = "version-id")]
    version_id: Option<String>,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
struct HttpRequest {
    method: String,
    url: String,
    headers: Vec<Header>,
    body: Option<Vec<u8>>,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
struct Request {
    context: Context,
    http: HttpRequest,
}

#[derive(ComponentType, Lift)]
#[component(record)]
#[allow(dead_code)]
struct Response {
    status: u16,
    headers: Vec<Header>,
    body: Option<Vec<u8>>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: u64,
    limit: u64,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        now: usize,
        then: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory += (then - now) as u64;
        Ok(self.memory <= self.limit)
    }

    fn table_growing(&mut self, _: usize, then: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(then <= 20_000)
    }
}

fn bare_engine() -> Engine {
    let settings = config();
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(setting("CONCURRENCY", 0) != 0)
        .wasm_memory64(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .native_unwind_info(false)
        .generate_address_map(false)
        .memory_guaranteed_dense_image_size(settings.dense_image_max_bytes)
        .async_stack_size(settings.async_stack_bytes as usize)
        .async_stack_zeroing(settings.async_stack_zeroing != 0)
        .max_wasm_stack(settings.max_wasm_stack_bytes as usize);
    if settings.pooling != 0 {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(settings.max_executions)
            .total_stacks(settings.max_executions)
            .total_core_instances(settings.max_executions * 20)
            .total_memories(settings.max_executions * 4)
            .total_tables(settings.max_executions * 8)
            .max_tables_per_module(8)
            .max_memory_size(1 << 30)
            .table_elements(settings.max_table_elements as usize)
            .max_core_instance_size(settings.max_core_instance_bytes as usize)
            .max_component_instance_size(settings.max_component_instance_bytes as usize)
            .max_unused_warm_slots(settings.max_unused_warm_slots)
            .decommit_batch_size(settings.decommit_batch as usize)
            .linear_memory_keep_resident(settings.memory_keep_resident as usize)
            .table_keep_resident(settings.table_keep_resident as usize)
            .async_stack_keep_resident(32 << 10)
            .pagemap_scan(if setting("PAGEMAP", 0) != 0 { Enabled::Yes } else { Enabled::No });
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).expect("an engine")
}

fn bare_once(pre: &InstancePre<State>, request: &Request, runtime: &tokio::runtime::Runtime) {
    let state = State {
        wasi: WasiCtx::builder().build(),
        table: ResourceTable::new(),
        memory: 0,
        limit: 256 << 20,
    };
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| state);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
    runtime.block_on(async {
        let instance = pre.instantiate_async(&mut store).await.expect("instantiated");
        let handler = instance
            .get_typed_func::<(Request,), (Response,)>(&mut store, "handler")
            .expect("a handler");
        let (response,) =
            handler.call_async(&mut store, (request.clone(),)).await.expect("an answer");
        assert!(response.status < 500);
    });
}

/// The interfaces of the product link, but may not be called here.
fn trap_product_imports(linker: &mut Linker<State>, component: &Component) {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            continue;
        };
        if !name.starts_with("alga:") {
            continue;
        }
        let mut target = linker.instance(name).expect("a name of its own");
        for (function, item) in instance.exports(engine) {
            if let ComponentItem::ComponentFunc(_) = item.ty {
                let trap = |_: wasmtime::StoreContextMut<'_, State>, _, _: &[_], _: &mut [_]| {
                    wasmtime::bail!("the bare loop has no host")
                };
                target.func_new(function, trap).expect("a name of its own");
            }
        }
    }
}

fn bare(file: &str, url: &str, count: usize, threads: usize) {
    let engine = bare_engine();
    let ticker = ticker(engine.clone());
    let path = artefact(file, |wasm| engine.precompile_component(wasm).expect("compiled"));
    // SAFETY: compiled by this very program.
    let component = unsafe { Component::deserialize_file(&engine, &path) }.expect("loaded");
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
    trap_product_imports(&mut linker, &component);
    let pre = linker.instantiate_pre(&component).expect("linked");
    let request = Request {
        context: Context {
            request_id: Some("request-1".into()),
            tenant_id: "tenant-1".into(),
            extension_id: "extension-1".into(),
            install_id: Some("install-1".into()),
            version_id: None,
        },
        http: HttpRequest {
            method: "POST".into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
        },
    };
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
    }
    measure("bare", count, threads, &|| {
        RUNTIME.with(|runtime| bare_once(&pre, &request, runtime));
    });
    ticker.store(true, Ordering::Relaxed);
}

fn ticker(engine: Engine) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let period = Duration::from_micros(setting("TICK_US", 1000));
    if !period.is_zero() {
        let stopped = stop.clone();
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(period);
                engine.increment_epoch();
            }
        });
    }
    stop
}

// ---- through the bridge ---------------------------------------------------------------------------

struct Shared(Bridge, Loaded);
// SAFETY: engines and components may be used from any thread.
unsafe impl Sync for Shared {}

fn bridge(file: &str, url: &str, count: usize, threads: usize) {
    let engine = Bridge::with(&config());
    let path = artefact(file, |wasm| engine.precompile(wasm).expect("compiled"));
    let component = engine.load_artefact(&std::fs::read(path).expect("read")).expect("loaded");
    let shared = Shared(engine, component);
    let shared = &shared;
    measure("bridge", count, threads, &|| {
        let ended = Run::get(url).limits(|l| *l = limits()).finish(&shared.1);
        assert!(ended.end == AbEnd::Ok && ended.status < 500, "{ended:?}");
    });
    let ended = Run::get(url).limits(|l| *l = limits()).finish(&shared.1);
    println!("        {:?}", ended.stats);
    println!("        {:?}", shared.0.pool());
}

fn drop_running(file: &str, url: &str, count: usize) {
    let engine = Bridge::with(&config());
    let component = engine.load(&component_bytes(file));
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let mut run = Run::get(url).limits(|l| *l = limits());
            run.max_yields = Some(2);
            let mut exec = run.start(&component);
            exec.run();
            let started = Instant::now();
            exec.free();
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("drop    p50={:?} p99={:?}", times[count / 2], times[count * 99 / 100]);
}

fn compile(file: &str) {
    let wasm = component_bytes(file);
    let before = peak_resident_mib();
    let engine = bare_engine();
    let (cpu, _) = usage();
    let started = Instant::now();
    let code = engine.precompile_component(&wasm).expect("compiled");
    println!(
        "compile {file}: {} bytes -> {} bytes, {:?} wall, {:?} cpu, peak RSS {before} -> {} MiB",
        wasm.len(),
        code.len(),
        started.elapsed(),
        usage().0 - cpu,
        peak_resident_mib(),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match words[..] {
        ["compile", file] => compile(file),
        ["bare", file, url, count] => bare(file, url, number(count), 1),
        ["bare", file, url, count, threads] => bare(file, url, number(count), number(threads)),
        ["bridge", file, url, count] => bridge(file, url, number(count), 1),
        ["bridge", file, url, count, threads] => bridge(file, url, number(count), number(threads)),
        ["drop", file, url, count] => drop_running(file, url, number(count)),
        _ => {
            eprintln!("usage: bench compile|bare|bridge|drop FILE [URL COUNT [THREADS]]");
            std::process::exit(2);
        }
    }
}
