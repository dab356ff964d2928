//! The engine: one per process, with the callbacks and the linker that every component shares.

use crate::abi::{
    AB_ABI_VERSION, AbEngineConfig, AbHost, AbOwned, AbPoolStats, AbStatus, AbStr, AbView,
};
use crate::error::{AbError, guard, quiet};
use crate::guest::Guest;
use crate::link;
use sha2::{Digest, Sha256};
use std::ffi::c_void;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// The version that this library is built from; also part of the compatibility hash.
const WASMTIME_VERSION: &str = "48.0.8";

/// Stack pages that stay mapped between executions; the rest goes back to the kernel.
const STACK_KEEP_RESIDENT: usize = 32 << 10;

/// The callbacks, known to be complete.
#[derive(Clone, Copy)]
pub struct Host {
    pub(crate) user: *mut c_void,
    pub(crate) notify: unsafe extern "C-unwind" fn(*mut c_void, *mut c_void),
    pub(crate) call: CallFn,
    pub(crate) abandoned: unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, u64),
    pub(crate) log: LogFn,
    pub(crate) stdio: unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, i32, AbView) -> i32,
}

type CallFn = unsafe extern "C-unwind" fn(
    *mut c_void,
    *mut c_void,
    *const crate::abi::AbHostRequest,
    *mut crate::call::AbCall,
) -> i32;
type LogFn =
    unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, crate::abi::AbLogLevel, AbStr) -> i32;

// SAFETY: the header asks every callback to be callable from any thread with this pointer.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    fn new(host: &AbHost) -> Result<Host, AbError> {
        check_abi(host.abi)?;
        let missing = |name: &str| AbError::invalid(format!("host callback `{name}` is NULL"));
        Ok(Host {
            user: host.user,
            notify: host.notify.ok_or_else(|| missing("notify"))?,
            call: host.call.ok_or_else(|| missing("call"))?,
            abandoned: host.abandoned.ok_or_else(|| missing("abandoned"))?,
            log: host.log.ok_or_else(|| missing("log"))?,
            stdio: host.stdio.ok_or_else(|| missing("stdio"))?,
        })
    }
}

#[cfg(test)]
impl Host {
    /// Callbacks that must never be made.
    pub(crate) fn deaf() -> Host {
        type Any = *mut c_void;
        unsafe extern "C-unwind" fn notify(_: Any, _: Any) {
            unreachable!()
        }
        unsafe extern "C-unwind" fn call(
            _: Any,
            _: Any,
            _: *const crate::abi::AbHostRequest,
            _: *mut crate::call::AbCall,
        ) -> i32 {
            unreachable!()
        }
        unsafe extern "C-unwind" fn abandoned(_: Any, _: Any, _: u64) {
            unreachable!()
        }
        unsafe extern "C-unwind" fn log(
            _: Any,
            _: Any,
            _: crate::abi::AbLogLevel,
            _: AbStr,
        ) -> i32 {
            unreachable!()
        }
        unsafe extern "C-unwind" fn stdio(_: Any, _: Any, _: i32, _: AbView) -> i32 {
            unreachable!()
        }
        Host { user: std::ptr::null_mut(), notify, call, abandoned, log, stdio }
    }
}

/// What an engine that runs guests has beyond one that only compiles.
pub(crate) struct Running {
    pub host: Host,
    pub linker: Linker<Guest>,
}

pub(crate) struct EngineState {
    pub engine: Engine,
    pub running: Option<Running>,
    pub max_memory_bytes: u64,
    /// Counts calls of `ab_engine_tick`; shared with executions, which compare it to tell a slice
    /// that ended from a deadline that passed while they waited.
    pub ticks: Arc<AtomicU64>,
}

/// `ab_engine`.
pub struct AbEngine(pub(crate) Arc<EngineState>);

pub(crate) fn check_abi(abi: u32) -> Result<(), AbError> {
    if abi == AB_ABI_VERSION {
        return Ok(());
    }
    Err(AbError::invalid(format!("interface version {abi}, this library speaks {AB_ABI_VERSION}")))
}

fn default_config() -> AbEngineConfig {
    AbEngineConfig {
        abi: AB_ABI_VERSION,
        pooling: 1,
        async_stack_zeroing: 1,
        max_executions: 256,
        max_memory_bytes: 1 << 30,
        max_table_elements: 100_000,
        core_instances_per_component: 20,
        memories_per_component: 4,
        tables_per_component: 8,
        max_core_instance_bytes: 4 << 20,
        max_component_instance_bytes: 10 << 20,
        max_unused_warm_slots: 100,
        decommit_batch: 16,
        memory_keep_resident: 0,
        table_keep_resident: 64 << 10,
        dense_image_max_bytes: 128 << 20,
        async_stack_bytes: 2 << 20,
        max_wasm_stack_bytes: 512 << 10,
    }
}

fn size(value: u64) -> Result<usize, AbError> {
    usize::try_from(value)
        .map_err(|_| AbError::new(AbStatus::Limit, "size beyond the address space"))
}

/// Slots beyond those of live executions: memories, tables and stacks that wait to be given back to
/// the kernel in batches (one queue per processor, and one batch being given back from each) are
/// still taken.
fn headroom(decommit_batch: u32) -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get().min(16) as u32);
    decommit_batch.saturating_sub(1).saturating_mul(2 * processors)
}

fn pool(config: &AbEngineConfig) -> Result<PoolingAllocationConfig, AbError> {
    let slots = config.max_executions;
    let spare = headroom(config.decommit_batch);
    let total = |per_component: u32, what: &str| {
        slots
            .checked_add(spare)
            .and_then(|slots| slots.checked_mul(per_component))
            .filter(|&total| slots > 0 && total > 0)
            .ok_or_else(|| {
                let text = format!("{slots} executions of {per_component} {what} each");
                AbError::new(AbStatus::Limit, text)
            })
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(total(1, "stacks")?)
        .total_core_instances(total(config.core_instances_per_component, "core instances")?)
        .total_memories(total(config.memories_per_component, "memories")?)
        .total_tables(total(config.tables_per_component, "tables")?)
        .max_core_instances_per_component(config.core_instances_per_component)
        .max_memories_per_component(config.memories_per_component)
        .max_tables_per_component(config.tables_per_component)
        .max_tables_per_module(config.tables_per_component)
        .max_memories_per_module(config.memories_per_component)
        .max_memory_size(size(config.max_memory_bytes)?)
        .table_elements(config.max_table_elements as usize)
        .max_core_instance_size(size(config.max_core_instance_bytes)?)
        .max_component_instance_size(size(config.max_component_instance_bytes)?)
        .max_unused_warm_slots(config.max_unused_warm_slots)
        .decommit_batch_size(config.decommit_batch.max(1) as usize)
        .linear_memory_keep_resident(size(config.memory_keep_resident)?)
        .table_keep_resident(size(config.table_keep_resident)?)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        // It leaves a page that is swapped out, or that the kernel moves at that moment, to the next
        // guest: docs/adr/0012. Protection keys, which are experimental, are not even compiled in.
        .pagemap_scan(Enabled::No);
    Ok(pool)
}

fn wasmtime_config(config: &AbEngineConfig) -> Result<Config, AbError> {
    let mut wasm = Config::new();
    wasm.epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .native_unwind_info(false)
        // Byte offsets of each instruction: they double an artefact and mean nothing to authors.
        .generate_address_map(false)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(config.dense_image_max_bytes)
        .concurrency_support(false)
        .async_stack_size(size(config.async_stack_bytes)?)
        .async_stack_zeroing(config.async_stack_zeroing != 0)
        .max_wasm_stack(size(config.max_wasm_stack_bytes)?);
    if config.pooling != 0 {
        wasm.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)?));
    } else {
        wasm.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    Ok(wasm)
}

impl AbEngine {
    /// Builds an engine; with `host` it can run guests.
    pub fn new(config: &AbEngineConfig, host: Option<&AbHost>) -> Result<AbEngine, AbError> {
        check_abi(config.abi)?;
        let host = host.map(Host::new).transpose()?;
        let engine = Engine::new(&wasmtime_config(config)?)
            .map_err(|error| AbError::invalid(format!("{error:#}")))?;
        let running = match host {
            None => None,
            Some(host) => {
                // Now, and not when the first guest is polled: then there may be no thread to be had.
                timers();
                Some(Running {
                    host,
                    linker: link::linker(&engine)
                        .map_err(|error| AbError::new(AbStatus::Link, format!("{error:#}")))?,
                })
            }
        };
        Ok(AbEngine(Arc::new(EngineState {
            engine,
            running,
            max_memory_bytes: config.max_memory_bytes,
            ticks: Arc::new(AtomicU64::new(0)),
        })))
    }

    fn compat_hash(&self) -> [u8; 32] {
        struct Feed(Sha256);
        impl Hasher for Feed {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update((bytes.len() as u64).to_le_bytes());
                self.0.update(bytes);
            }
            fn finish(&self) -> u64 {
                0 // the digest is read instead
            }
        }
        let mut feed = Feed(Sha256::new());
        feed.write(b"alga-bridge artefact 1");
        feed.write(WASMTIME_VERSION.as_bytes());
        self.0.engine.precompile_compatibility_hash().hash(&mut feed);
        feed.0.finalize().into()
    }

    fn pool_stats(&self) -> AbPoolStats {
        let Some(pool) = self.0.engine.pooling_allocator_metrics() else {
            return AbPoolStats::default();
        };
        AbPoolStats {
            live_component_instances: pool.component_instances(),
            live_core_instances: pool.core_instances(),
            live_memories: pool.memories() as u64,
            live_tables: pool.tables() as u64,
            live_stacks: pool.stacks() as u64,
            unused_warm_memories: pool.unused_warm_memories().into(),
            unused_memory_bytes_resident: pool.unused_memory_bytes_resident() as u64,
        }
    }
}

/// The one timer thread behind guest timers. Time only: no I/O driver, hence no sockets.
pub(crate) fn timers() -> &'static tokio::runtime::Handle {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(1)
                .thread_name("alga-timers")
                .enable_time()
                .build()
                .expect("the timer thread can be started")
        })
        .handle()
}

/// # Safety
/// `config` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_engine_config_default(config: *mut AbEngineConfig) {
    if !config.is_null() {
        // SAFETY: writable, promised by the caller.
        unsafe { config.write(default_config()) };
    }
}

/// # Safety
/// As in the header: every pointer is NULL or valid; `out` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_engine_new(
    config: *const AbEngineConfig,
    host: *const AbHost,
    out: *mut *mut AbEngine,
    error: *mut *mut AbError,
) -> AbStatus {
    // SAFETY: pointers are NULL or valid, promised by the caller.
    unsafe {
        guard(error, || {
            let config = config.as_ref().ok_or_else(|| AbError::invalid("config is NULL"))?;
            if out.is_null() {
                return Err(AbError::invalid("out is NULL"));
            }
            let engine = AbEngine::new(config, host.as_ref())?;
            out.write(Box::into_raw(Box::new(engine)));
            Ok(())
        })
    }
}

/// # Safety
/// `engine` is NULL or came from [`ab_engine_new`] and is not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_engine_free(engine: *mut AbEngine) {
    if !engine.is_null() {
        // SAFETY: promised by the caller.
        quiet(|| drop(unsafe { Box::from_raw(engine) }));
    }
}

/// # Safety
/// `engine` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_engine_tick(engine: *mut AbEngine) {
    // SAFETY: promised by the caller.
    if let Some(engine) = unsafe { engine.as_ref() } {
        engine.0.ticks.fetch_add(1, Ordering::Relaxed);
        engine.0.engine.increment_epoch();
    }
}

/// # Safety
/// `engine` is valid; `out` points to 32 writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_engine_compat_hash(engine: *const AbEngine, out: *mut u8) {
    // SAFETY: promised by the caller.
    if let (Some(engine), false) = (unsafe { engine.as_ref() }, out.is_null()) {
        let hash = quiet(|| engine.compat_hash());
        // SAFETY: 32 writable bytes, promised by the caller.
        unsafe { out.copy_from_nonoverlapping(hash.as_ptr(), hash.len()) };
    }
}

/// The version of Wasmtime, static.
#[unsafe(no_mangle)]
pub extern "C" fn ab_wasmtime_version() -> AbStr {
    WASMTIME_VERSION.into()
}

/// # Safety
/// `engine` is NULL or valid; `out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_engine_pool_stats(engine: *const AbEngine, out: *mut AbPoolStats) {
    // SAFETY: promised by the caller.
    if let (Some(engine), false) = (unsafe { engine.as_ref() }, out.is_null()) {
        // SAFETY: writable, promised by the caller.
        unsafe { out.write(quiet(|| engine.pool_stats())) };
    }
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ab_precompile(
    engine: *mut AbEngine,
    wasm: AbView,
    artefact: *mut AbOwned,
    error: *mut *mut AbError,
) -> AbStatus {
    // SAFETY: pointers are NULL or valid, promised by the caller.
    unsafe {
        guard(error, || {
            let engine = engine.as_ref().ok_or_else(|| AbError::invalid("engine is NULL"))?;
            if artefact.is_null() {
                return Err(AbError::invalid("artefact is NULL"));
            }
            let wasm = wasm.bytes();
            require_component(wasm)?;
            let code = engine
                .0
                .engine
                .precompile_component(wasm)
                .map_err(|error| AbError::invalid(format!("{error:#}")))?;
            artefact.write(AbOwned::from_vec(code));
            Ok(())
        })
    }
}

/// Only a binary component may go on: no core module, no text, no native code.
pub(crate) fn require_component(wasm: &[u8]) -> Result<(), AbError> {
    if wasmparser::Parser::is_component(wasm) {
        return Ok(());
    }
    Err(AbError::invalid(if wasmparser::Parser::is_core_wasm(wasm) {
        "a core module, not a component"
    } else {
        "not a WebAssembly component"
    }))
}

#[cfg(test)]
mod tests {
    use super::{AbEngine, default_config};

    #[test]
    fn both_allocators_make_interchangeable_artefacts() {
        let pooled = AbEngine::new(&default_config(), None).expect("pooled");
        let mut config = default_config();
        config.pooling = 0;
        let on_demand = AbEngine::new(&config, None).expect("on demand");
        assert_eq!(pooled.compat_hash(), on_demand.compat_hash());
    }

    #[test]
    fn machines_of_different_size_share_artefacts() {
        let small = AbEngine::new(&default_config(), None).expect("engine");
        let mut config = default_config();
        (config.max_executions, config.max_memory_bytes) = (8, 64 << 20);
        (config.max_unused_warm_slots, config.memory_keep_resident) = (1, 1 << 20);
        let large = AbEngine::new(&config, None).expect("engine");
        assert_eq!(small.compat_hash(), large.compat_hash());
        assert_ne!(small.compat_hash(), [0; 32]);
    }

    #[test]
    fn another_interface_version_is_refused() {
        let mut config = default_config();
        config.abi += 1;
        assert!(AbEngine::new(&config, None).is_err());
    }
}
