//! A host that makes mistakes gets an error, not undefined behaviour.

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use alga_bridge::component::*;
use alga_bridge::engine::*;
use alga_bridge::error::*;
use alga_bridge::exec::*;
use host::guests::{ECHO, plain};
use host::{Engine, callbacks, default_config, limits, take_error};
use std::ptr::{null, null_mut};

fn new_engine(config: *const AbEngineConfig, host: *const AbHost) -> (AbStatus, String) {
    let (mut engine, mut error) = (null_mut(), null_mut());
    let status = unsafe { ab_engine_new(config, host, &mut engine, &mut error) };
    unsafe { ab_engine_free(engine) };
    let (kind, message) = take_error(error);
    assert_eq!(status, kind, "status and error agree");
    (status, message)
}

#[test]
fn another_interface_version_is_refused() {
    let mut config = default_config();
    config.abi = 99;
    let (status, message) = new_engine(&config, null());
    assert_eq!(status, AbStatus::Invalid);
    assert!(message.contains("99"), "{message}");
    let mut host = callbacks();
    host.abi = 0;
    assert_eq!(new_engine(&default_config(), &host).0, AbStatus::Invalid);
}

#[test]
fn a_missing_callback_is_named() {
    let mut host = callbacks();
    host.stdio = None;
    let (status, message) = new_engine(&default_config(), &host);
    assert_eq!(status, AbStatus::Invalid);
    assert!(message.contains("stdio"), "{message}");
}

#[test]
fn absurd_sizes_are_refused() {
    let absurd: [fn(&mut AbEngineConfig); 5] = [
        |config| config.max_executions = 0,
        |config| config.max_executions = u32::MAX,
        |config| config.max_memory_bytes = u64::MAX,
        |config| config.max_wasm_stack_bytes = config.async_stack_bytes + 1,
        |config| config.memories_per_component = 0,
    ];
    for (i, change) in absurd.iter().enumerate() {
        let mut config = default_config();
        change(&mut config);
        assert_ne!(new_engine(&config, null()).0, AbStatus::Ok, "case {i}");
    }
}

#[test]
fn null_is_refused_or_ignored_everywhere() {
    assert_eq!(new_engine(null(), null()).0, AbStatus::Invalid);
    unsafe {
        assert_eq!(
            ab_engine_new(&default_config(), null(), null_mut(), null_mut()),
            AbStatus::Invalid
        );
        assert_eq!(
            ab_precompile(null_mut(), AbStr::EMPTY, null_mut(), null_mut()),
            AbStatus::Invalid
        );
        assert_eq!(ab_component_load_fd(null_mut(), 0, null_mut(), null_mut()), AbStatus::Invalid);
        assert_eq!(
            ab_exec_new(null_mut(), null(), null(), null_mut(), null_mut(), null_mut()),
            AbStatus::Invalid
        );
        assert_eq!(ab_exec_poll(null_mut()), AbPoll::Ready);
        assert_eq!(ab_component_image_bytes(null()), 0);
        assert_eq!(ab_call_id(null()), 0);
        assert_eq!(ab_error_status(null()), AbStatus::Ok);
        ab_engine_config_default(null_mut());
        ab_engine_tick(null_mut());
        ab_engine_free(null_mut());
        ab_engine_pool_stats(null(), null_mut());
        ab_engine_compat_hash(null(), null_mut());
        ab_component_retain(null_mut());
        ab_component_release(null_mut());
        ab_call_ok_none(null_mut());
        ab_call_err(null_mut(), 0);
        ab_exec_stats(null(), null_mut());
        ab_exec_outcome(null(), null_mut());
        ab_exec_free(null_mut());
        ab_error_free(null_mut());
    }
}

#[test]
fn a_value_for_no_call_is_released() {
    static RELEASED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    unsafe extern "C-unwind" fn release(_: *mut std::ffi::c_void) {
        RELEASED.store(true, std::sync::atomic::Ordering::SeqCst);
    }
    let value = AbOwned { data: b"x".as_ptr(), len: 1, release: Some(release), ctx: null_mut() };
    unsafe { ab_call_ok_bytes(null_mut(), value) };
    assert!(RELEASED.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn only_binary_components_are_compiled() {
    let engine = Engine::new();
    let artefact = engine.precompile(&plain(ECHO)).expect("a component");
    let module = wat::parse_str("(module)").unwrap();
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("text", b"(component)"),
        ("a core module", &module),
        ("native code", &artefact),
        ("garbage", b"\0asm\x0d\0\x01\0\xff\xff\xff"),
    ] {
        let (status, message) = engine.precompile(bytes).expect_err(what);
        assert_eq!(status, AbStatus::Invalid, "{what}: {message}");
    }
}

#[test]
fn what_is_no_artefact_of_ours_is_not_loaded() {
    let engine = Engine::new();
    let wasm = plain(ECHO);
    let artefact = engine.precompile(&wasm).expect("a component");
    let cut = &artefact[..artefact.len() / 2];
    for (what, bytes) in
        [("a component", &wasm[..]), ("garbage", b"\x7fELF garbage"), ("half", cut)]
    {
        let (status, message) = engine.load_artefact(bytes).err().expect(what);
        assert_eq!(status, AbStatus::Incompatible, "{what}: {message}");
    }
}

#[test]
fn a_bad_descriptor_is_an_io_error() {
    let engine = Engine::new();
    for fd in [-1, i32::MAX] {
        let (mut component, mut error) = (null_mut(), null_mut());
        let status = unsafe { ab_component_load_fd(engine.raw, fd, &mut component, &mut error) };
        assert_eq!((status, take_error(error).0), (AbStatus::Io, AbStatus::Io));
    }
}

#[test]
fn an_engine_without_a_host_compiles_but_does_not_load() {
    let mut config = default_config();
    config.pooling = 0;
    let (mut raw, mut error) = (null_mut(), null_mut());
    let status = unsafe { ab_engine_new(&config, null(), &mut raw, &mut error) };
    assert_eq!(status, AbStatus::Ok);
    let mut artefact = AbOwned::EMPTY;
    let wasm = plain(ECHO);
    let status = unsafe { ab_precompile(raw, wasm.as_slice().into(), &mut artefact, &mut error) };
    assert_eq!(status, AbStatus::Ok);
    // Made by the on-demand allocator, it runs in a pool.
    let artefact = host::take_owned(artefact);
    let engine = Engine::new();
    let component = engine.load_artefact(&artefact).expect("interchangeable");
    assert_eq!(host::Run::get("/").body(b"x").finish(&component).status, 200);
    let mut component = null_mut();
    let status = unsafe { ab_component_load_fd(raw, 0, &mut component, &mut error) };
    assert_eq!((status, take_error(error).0), (AbStatus::Invalid, AbStatus::Invalid));
    unsafe { ab_engine_free(raw) };
}

#[test]
fn the_body_is_released_even_when_the_execution_is_not_made() {
    static RELEASED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    unsafe extern "C-unwind" fn release(_: *mut std::ffi::c_void) {
        RELEASED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    let nothing = AbContext {
        request_id: AbStr::EMPTY,
        tenant_id: AbStr::EMPTY,
        extension_id: AbStr::EMPTY,
        install_id: AbStr::EMPTY,
        version_id: AbStr::EMPTY,
        has_request_id: 0,
        has_install_id: 0,
        has_version_id: 0,
    };
    let request = AbExecuteRequest {
        context: nothing,
        method: AbStr::EMPTY,
        url: AbStr::EMPTY,
        headers: null(),
        n_headers: 0,
        body: AbOwned { data: b"x".as_ptr(), len: 1, release: Some(release), ctx: null_mut() },
        has_body: 1,
    };
    let mut exec = null_mut();
    let status =
        unsafe { ab_exec_new(null_mut(), &limits(), &request, null_mut(), &mut exec, null_mut()) };
    assert_eq!(status, AbStatus::Invalid);
    assert_eq!(RELEASED.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn an_execution_outlives_the_reference_to_its_component() {
    let engine = Engine::new();
    let component = engine.load(&plain(ECHO));
    unsafe { ab_component_retain(component.raw) };
    unsafe { ab_component_release(component.raw) };
    assert!(unsafe { ab_component_image_bytes(component.raw) } > 0);
    let mut exec = host::Run::get("/").body(b"still here").start(&component);
    drop(component);
    exec.run();
    assert_eq!(exec.ended().body.as_deref(), Some(&b"still here"[..]));
}

#[test]
fn the_outcome_of_a_running_execution_says_so() {
    let engine = Engine::new();
    let component = engine.load(&plain(ECHO));
    let exec = host::Run::get("/").start(&component);
    assert_eq!(exec.ended().end, AbEnd::Internal);
}

#[test]
fn the_header_and_this_library_agree_on_layout() {
    // Sizes as a C compiler for 64-bit Linux computes them from include/alga_bridge.h.
    assert_eq!(size_of::<AbEngineConfig>(), 104);
    assert_eq!(size_of::<AbHost>(), 56);
    assert_eq!(size_of::<AbHostRequest>(), 64);
    assert_eq!(size_of::<AbHttpRequest>(), 72);
    assert_eq!(size_of::<AbStorageRequest>(), 96);
    assert_eq!(size_of::<AbContext>(), 88);
    assert_eq!(size_of::<AbUser>(), 136);
    assert_eq!(size_of::<AbHttpResponse>(), 56);
    assert_eq!(size_of::<AbStorageEntry>(), 56);
    assert_eq!(size_of::<AbLimits>(), 48);
    assert_eq!(size_of::<AbExecuteRequest>(), 176);
    assert_eq!(size_of::<AbOutcome>(), 104);
    assert_eq!(size_of::<AbStats>(), 72);
}
