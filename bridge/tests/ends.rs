//! One guest for each way to end.

mod host;

use alga_bridge::abi::*;
use host::guests::{ECHO, V1, guest, plain, poll_repeated};
use host::{Engine, Run};

const STACK_OVERFLOW: i32 = 0;
const UNREACHABLE: i32 = 9;

#[test]
fn an_answer_arrives_with_status_and_body() {
    let engine = Engine::new();
    let component = engine.load(&plain(ECHO));
    let ended = Run::get("/x").body(b"hello").finish(&component);
    assert_eq!(ended.end, AbEnd::Ok, "{ended:?}");
    assert_eq!((ended.status, ended.body.as_deref()), (200, Some(&b"hello"[..])));
    assert!(ended.stats.peak_memory_bytes >= 2 * 65536);
    assert!(ended.stats.instantiate_ns > 0 && ended.stats.call_ns > 0);
}

#[test]
fn a_trap_has_its_code_and_a_backtrace() {
    let engine = Engine::new();
    let ended = Run::get("/").finish(&engine.load(&plain("unreachable")));
    assert_eq!((ended.end, ended.trap_code), (AbEnd::GuestTrap, UNREACHABLE));
    assert!(ended.message.contains("unreachable"), "{ended:?}");
    assert!(ended.backtrace.contains("function["), "{ended:?}");
}

#[test]
fn endless_recursion_overflows_the_stack_of_the_guest_only() {
    let engine = Engine::new();
    let deep = guest(
        V1,
        &[],
        "",
        "(call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (call $down (i32.const 1))) ) (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0)))",
    );
    let ended = Run::get("/").finish(&engine.load(&deep));
    assert_eq!((ended.end, ended.trap_code), (AbEnd::StackOverflow, STACK_OVERFLOW), "{ended:?}");
}

#[test]
fn an_endless_loop_yields_and_can_be_dropped() {
    let engine = Engine::new();
    let component = engine.load(&plain("(loop $l (br $l)) unreachable"));
    let mut run = Run::get("/");
    run.max_yields = Some(5);
    let mut exec = run.start(&component);
    exec.run();
    let stats = exec.stats();
    assert!(stats.yields >= 5, "{stats:?}");
    assert!(stats.poll_ns >= 2_000_000, "a slice lasts about a tick: {stats:?}");
    exec.free();
    assert_eq!(engine.pool().live_component_instances, 0);
}

#[test]
fn growing_memory_beyond_the_limit_ends_with_the_memory_limit() {
    let engine = Engine::new();
    let component =
        engine.load(&plain("(loop $l (drop (memory.grow (i32.const 16))) (br $l)) unreachable"));
    let ended = Run::get("/").limits(|limits| limits.memory_bytes = 8 << 20).finish(&component);
    assert_eq!((ended.end, ended.trap_code), (AbEnd::MemoryLimit, -1), "{ended:?}");
    assert_eq!(ended.stats.memory_denied, 1);
    let peak = ended.stats.peak_memory_bytes;
    assert!(peak <= 8 << 20 && peak > 7 << 20, "{ended:?}");
}

#[test]
fn initial_memory_counts_too() {
    let engine = Engine::new();
    let component = engine.load(&plain(ECHO));
    let ended = Run::get("/").limits(|limits| limits.memory_bytes = 65536).finish(&component);
    assert_eq!(ended.end, AbEnd::MemoryLimit, "{ended:?}");
}

#[test]
fn growing_a_table_beyond_the_limit_ends_with_the_table_limit() {
    let engine = Engine::new();
    let table = "(table $t 1 funcref)";
    let body =
        "(loop $l (drop (table.grow $t (ref.null func) (i32.const 100))) (br $l)) unreachable";
    let component = engine.load(&guest(V1, &[], table, body));
    let ended = Run::get("/").limits(|limits| limits.table_elements = 1000).finish(&component);
    assert_eq!(ended.end, AbEnd::TableLimit, "{ended:?}");
    assert_eq!(ended.stats.table_denied, 1);
}

#[test]
fn sending_more_than_allowed_in_one_host_call_ends_with_its_limit() {
    let engine = Engine::new();
    let fields = r#"(import "alga:extension/logging@1.0.0" "log" (func $log (param i32 i32 i32)))"#;
    let body = "(call $log (i32.const 1) (i32.const 0) (i32.const 100000)) unreachable";
    let component = engine.load(&guest(V1, &["alga:extension/logging@1.0.0"], fields, body));
    let ended = Run::get("/").limits(|limits| limits.host_call_bytes = 99_999).finish(&component);
    assert_eq!(ended.end, AbEnd::HostcallBytes, "{ended:?}");
    let ended = Run::get("/").limits(|limits| limits.host_call_bytes = 100_000).finish(&component);
    assert_eq!(ended.end, AbEnd::GuestTrap, "the call fits, what follows traps: {ended:?}");
}

#[test]
fn a_large_answer_ends_with_the_response_limit() {
    let engine = Engine::new();
    let component =
        engine.load(&plain("(call $answer (i32.const 200) (i32.const 0) (i32.const 5001))"));
    let ended = Run::get("/").limits(|limits| limits.response_bytes = 5000).finish(&component);
    assert_eq!(ended.end, AbEnd::ResponseLimit, "{ended:?}");
    assert!(ended.message.contains("5001 bytes of body, 5000 allowed"), "{ended:?}");
    let ended = Run::get("/").limits(|limits| limits.response_bytes = 5001).finish(&component);
    assert_eq!(ended.body.map(|body| body.len()), Some(5001));
}

/// An answer with `count` headers, each with an empty name and a value of `length` bytes.
fn with_headers(count: u32, length: u32) -> Vec<u8> {
    plain(&format!(
        "(local $i i32)
        (drop (call $answer (i32.const 200) (i32.const 0) (i32.const 0)))
        (i32.store (i32.const 1028) (i32.const 2048))
        (i32.store (i32.const 1032) (i32.const {count}))
        (loop $l
            (i32.store (i32.add (i32.const 2056) (i32.mul (local.get $i) (i32.const 16))) (i32.const 1))
            (i32.store (i32.add (i32.const 2060) (i32.mul (local.get $i) (i32.const 16))) (i32.const {length}))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const {count}))))
        (i32.const 1024)"
    ))
}

#[test]
fn headers_are_limited_by_number_and_by_bytes() {
    let engine = Engine::new();
    let component = engine.load(&with_headers(10, 7));
    let fits =
        |limits: &mut AbLimits| (limits.response_headers, limits.response_header_bytes) = (10, 70);
    assert_eq!(Run::get("/").limits(fits).finish(&component).headers.len(), 10);
    for (headers, bytes) in [(9, 70), (10, 69), (0, 0)] {
        let tight = |limits: &mut AbLimits| {
            (limits.response_headers, limits.response_header_bytes) = (headers, bytes);
        };
        let ended = Run::get("/").limits(tight).finish(&component);
        assert_eq!(ended.end, AbEnd::ResponseLimit, "{headers} {bytes}: {ended:?}");
    }
}

#[test]
fn wasi_exit_is_its_own_end() {
    let engine = Engine::new();
    let fields = r#"(import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))"#;
    let body = "(call $exit (i32.const 1)) unreachable";
    let component = engine.load(&guest(V1, &["wasi:cli/exit@0.2.3"], fields, body));
    assert_eq!(Run::get("/").finish(&component).end, AbEnd::Exit);
}

#[test]
fn hoarding_resources_ends_with_the_handle_limit() {
    let engine = Engine::new();
    let fields = r#"(import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $sub (param i64) (result i32)))"#;
    let body = "(loop $l (drop (call $sub (i64.const 1000000000))) (br $l)) unreachable";
    let imports = ["wasi:clocks/monotonic-clock@0.2.3"];
    let component = engine.load(&guest(V1, &imports, fields, body));
    let ended = Run::get("/").limits(|limits| limits.resource_handles = 50).finish(&component);
    assert_eq!(ended.end, AbEnd::HandleLimit, "{ended:?}");
}

#[test]
fn a_list_that_names_one_handle_over_and_over_ends_with_the_handle_limit() {
    let engine = Engine::new();
    let limits = |limits: &mut AbLimits| {
        (limits.resource_handles, limits.host_call_bytes) = (100, 1 << 30);
    };
    let run = |times: u32| Run::get("/").limits(limits).finish(&engine.load(&poll_repeated(times)));
    let ended = run(50);
    assert_eq!(ended.end, AbEnd::Ok, "{ended:?}");
    let every: Vec<u8> = (0..50_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(ended.body, Some(every), "each place of the list is ready");
    // Each place borrows the handle, and what is borrowed counts.
    for times in [100, 10_000_000] {
        let ended = run(times);
        assert_eq!((ended.end, ended.limit.as_str()), (AbEnd::HandleLimit, "resource_handles"));
    }
    assert_eq!(run(0).end, AbEnd::GuestTrap, "a list of nothing is a mistake of the guest");
}

#[test]
fn an_answer_that_breaks_the_canonical_abi_is_a_trap_of_the_guest() {
    let engine = Engine::new();
    let component = engine.load(&plain("(i32.const 1025)"));
    let ended = Run::get("/").finish(&component);
    assert_eq!(ended.end, AbEnd::GuestTrap, "{ended:?}");
    let component =
        engine.load(&plain("(call $answer (i32.const 200) (i32.const 0) (i32.const -1))"));
    let ended = Run::get("/").finish(&component);
    assert!(matches!(ended.end, AbEnd::GuestTrap | AbEnd::HostcallBytes), "{ended:?}");
}

#[test]
fn random_bytes_are_bounded_and_live() {
    let engine = Engine::new();
    let fields =
        r#"(import "wasi:random/random@0.2.3" "get-random-bytes" (func $random (param i64 i32)))"#;
    let ask = |len: u64| {
        let body = format!(
            "(call $random (i64.const {len}) (i32.const 16)) (call $answer (i32.const 200) (i32.load (i32.const 16)) (i32.load (i32.const 20)))"
        );
        guest(V1, &["wasi:random/random@0.2.3"], fields, &body)
    };
    let component = engine.load(&ask(32));
    let (one, other) = (Run::get("/").finish(&component), Run::get("/").finish(&component));
    assert_eq!(one.body.as_ref().map(Vec::len), Some(32));
    assert_ne!(one.body, other.body);
    let ended = Run::get("/").finish(&engine.load(&ask(1 << 30)));
    assert_eq!(ended.end, AbEnd::GuestTrap, "{ended:?}");
}

#[test]
fn the_pool_being_full_is_an_end_that_may_be_retried() {
    let mut config = host::default_config();
    config.max_executions = 1;
    let engine = Engine::with(&config);
    let component = engine.load(&plain("(loop $l (br $l)) unreachable"));
    let mut first = Run::get("/").start(&component);
    assert_eq!(first.poll(), AbPoll::Yielded);
    let ended = Run::get("/").finish(&component);
    assert_eq!(ended.end, AbEnd::PoolFull, "{ended:?}");
    first.free();
    let echo = engine.load(&plain(ECHO));
    assert_eq!(Run::get("/").finish(&echo).end, AbEnd::Ok);
}
