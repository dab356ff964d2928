//! What a guest can make the host keep is bounded. The memory that is measured is that of the whole
//! process, hence a file of its own with one test that looks at one thing after the other.

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use host::guests::{V1, guest, poll_repeated};
use host::http::repeating;
use host::{Engine, Run};

const MIB: u64 = 1 << 20;
/// `host_call_bytes` of these executions.
const LIMIT: u64 = 8 * MIB;
/// Pages of guests, pieces that are copied while they are counted, and what else a process does.
const SLACK: u64 = 24 * MIB;

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024
}

/// Bytes by which the process was larger than before, at its largest.
fn growth(work: impl FnOnce()) -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").expect("the mark of the largest size is reset");
    let before = status("VmRSS:");
    work();
    status("VmHWM:").saturating_sub(before)
}

fn tight(limits: &mut AbLimits) {
    limits.host_call_bytes = LIMIT;
}

/// A guest that does `step` as often as `fits` says answers; with one more it ends at its limit, and
/// with very many, too, and the host has not grown by more than the limit.
fn is_bounded(engine: &Engine, what: &str, step: &str, fits: usize) {
    let component = engine.load(&repeating(step, ""));
    let run = |times: usize| Run::get("/").body(&vec![0; times]).limits(tight).finish(&component);
    let ended = run(fits);
    assert_eq!((ended.end, ended.status), (AbEnd::Ok, 200), "{what}: {ended:?}");
    let at_limit = |times: usize| {
        let ended = run(times);
        assert_eq!(ended.end, AbEnd::HostcallBytes, "{what}, {times} times: {ended:?}");
        assert_eq!(ended.limit, "host_bytes", "{what}: {ended:?}");
        assert!(ended.message.contains("8388608 allowed"), "{what}: {ended:?}");
    };
    at_limit(fits + 1);
    let grown = growth(|| at_limit(300));
    assert!(grown < 2 * LIMIT + SLACK, "{what}: {grown} bytes more");
}

#[test]
fn what_a_guest_makes_the_host_keep_is_bounded() {
    let engine = Engine::new();
    bodies_that_are_written_and_never_sent(&engine);
    everything_else_of_wasi_http(&engine);
    what_is_given_up_or_sent_counts_no_more(&engine);
    executions_that_end_in_the_middle_leave_nothing(&engine);
    names_of_functions(&engine);
    handles_named_millions_of_times(&engine);
}

fn bodies_that_are_written_and_never_sent(engine: &Engine) {
    is_bounded(engine, "never handed over", "(call $open) (call $fill)", 4);
    is_bounded(engine, "never finished", "(call $open) (call $send) (call $fill)", 4);
    let responses = "(call $response-body (call $new-response (call $fields)) (i32.const 512))
        (call $open-body) (call $fill)";
    is_bounded(engine, "of responses", responses, 4);
}

fn everything_else_of_wasi_http(engine: &Engine) {
    const LETTERS: &str = "(i32.const 131072) (i32.const 1048576)";
    let request = |set: &str, case: u32, text: &str| {
        format!(
            "(if (call ${set} (call $new-request (call $fields)) (i32.const {case}) {text}) (then unreachable))"
        )
    };
    is_bounded(engine, "methods", &request("set-method", 9, LETTERS), 8);
    is_bounded(engine, "authorities", &request("set-authority", 1, LETTERS), 8);
    // Longer ones are no paths.
    let path = format!(
        "(i32.store8 (i32.const 131071) (i32.const 47)) {}",
        request("set-path", 1, "(i32.const 131071) (i32.const 65534)")
    );
    is_bounded(engine, "paths", &path, 128);

    const FIELD: &str = "(i32.const 131072) (i32.const 1) (i32.const 131072) (i32.const 60000)";
    let append = format!("(call $append (call $fields) {FIELD} (i32.const 512)) (drop (call $ok))");
    is_bounded(engine, "fields appended", &append, 139);
    let list = |words: [u32; 4]| {
        let store =
            |(i, word)| format!("(i32.store (i32.const {}) (i32.const {word}))", 600 + 4 * i);
        words.into_iter().enumerate().map(store).collect::<String>()
    };
    let set = list([131_072, 60_000, 0, 0])
        + "(call $set (call $fields) (i32.const 131072) (i32.const 1) (i32.const 600) (i32.const 1) (i32.const 512)) (drop (call $ok))";
    is_bounded(engine, "fields set", &set, 139);
    let from_list = list([131_072, 1, 131_072, 60_000])
        + "(call $from-list (i32.const 600) (i32.const 1) (i32.const 512)) (drop (call $ok))";
    is_bounded(engine, "fields from lists", &from_list, 139);
    let clones = format!(
        "(if (i32.eqz (global.get $body))
            (then (global.set $body (call $fields)) (call $append (global.get $body) {FIELD} (i32.const 512)) (drop (call $ok))))
        (call $append (call $clone (global.get $body)) (i32.const 131072) (i32.const 1) (i32.const 131072) (i32.const 1) (i32.const 512))
        (drop (call $ok))"
    );
    is_bounded(engine, "clones that are changed", &clones, 138);
}

fn what_is_given_up_or_sent_counts_no_more(engine: &Engine) {
    let dropped = engine.load(&repeating("(call $open) (call $fill) (call $drop-all)", ""));
    let run = |times: usize| Run::get("/").body(&vec![0; times]).limits(tight);
    let ended = run(100).finish(&dropped);
    assert_eq!((ended.end, ended.status), (AbEnd::Ok, 200), "{ended:?}");

    let sent = "(call $open) (call $send) (call $fill) (call $finish) (call $receive)";
    let sent = engine.load(&repeating(sent, ""));
    let mut exec = run(20)
        .on_call(|request, call| {
            let http = unsafe { &*request.http };
            assert_eq!(http.body.len as u64, 2 * MIB);
            unsafe { ab_call_err(call, HostError::Denied as u32) };
            0
        })
        .start(&sent);
    exec.run();
    let ended = exec.ended();
    assert_eq!((ended.end, ended.status), (AbEnd::Ok, 200), "{ended:?}");
    assert_eq!(exec.record.ops(), [AbOp::HttpFetch; 20]);
}

fn executions_that_end_in_the_middle_leave_nothing(engine: &Engine) {
    let four = "(call $open) (call $send) (call $fill)";
    let four_sent = "(call $open) (call $send) (call $fill) (call $finish)";
    let run = |component: &host::Component, yields: Option<u32>| {
        let mut run = Run::get("/").body(&[0; 4]).limits(tight);
        run.max_yields = yields;
        let mut exec = run.start(component);
        exec.run();
        exec.ended().end
    };
    let traps = engine.load(&repeating(four, "unreachable"));
    let stops = engine.load(&repeating(four, "(loop $spin (br $spin))"));
    // By then they are complete and wait for the next poll, which never comes.
    let queued = engine.load(&repeating(four_sent, "(loop $spin (br $spin))"));
    let rounds = || {
        for _ in 0..60 {
            assert_eq!(run(&traps, None), AbEnd::GuestTrap);
            run(&stops, Some(1));
            run(&queued, Some(1));
        }
    };
    let grown = growth(rounds);
    assert!(grown < 2 * LIMIT + SLACK, "{grown} bytes more after 60 rounds of three");
}

fn names_of_functions(engine: &Engine) {
    let long = "x".repeat(90_000);
    let deep = format!(
        "(func $b{long} (param i32) (if (i32.eqz (local.get 0)) (then unreachable)) (call $b{long} (i32.sub (local.get 0) (i32.const 1))))"
    );
    let body = format!("(call $b{long} (i32.const 100)) unreachable");
    let ended = Run::get("/").finish(&engine.load(&guest(V1, &[], &deep, &body)));
    assert_eq!(ended.end, AbEnd::GuestTrap, "{ended:?}");
    assert!(ended.backtrace.contains("bxxx"), "names are there");
    assert!(ended.backtrace.len() < 16 << 10, "{} bytes", ended.backtrace.len());

    // p<p<p<…>, p<…>>, …>: each of 24 types names the one before it twice.
    let mut bomb = String::from("_Z1f1pI1aS0_E");
    for i in 1..24_u32 {
        let before = char::from_digit(i, 36).expect("a digit").to_ascii_uppercase();
        bomb += &format!("S_IS{before}_S{before}_E");
    }
    let random =
        r#"(import "wasi:random/random@0.2.3" "get-random-bytes" (func $random (param i64 i32)))"#;
    let fields =
        format!("{random} (func ${bomb} (call $random (i64.const 1073741824) (i32.const 16)))");
    let refused =
        guest(V1, &["wasi:random/random@0.2.3"], &fields, &format!("(call ${bomb}) unreachable"));
    let component = engine.load(&refused);
    let grown = growth(|| {
        let ended = Run::get("/").finish(&component);
        assert_eq!(ended.end, AbEnd::GuestTrap, "{ended:?}");
        assert!(ended.message.contains("exceeds limit"), "{ended:?}");
    });
    assert!(grown < SLACK, "{grown} bytes more for a name of {}", bomb.len());
}

fn handles_named_millions_of_times(engine: &Engine) {
    const TIMES: u32 = 10_000_000;
    let component = engine.load(&poll_repeated(TIMES));
    let allowed = |limits: &mut AbLimits| limits.host_call_bytes = 1 << 30;
    let grown = growth(|| {
        let ended = Run::get("/").limits(allowed).finish(&component);
        assert_eq!(ended.end, AbEnd::HandleLimit, "{ended:?}");
    });
    let list = 4 * u64::from(TIMES);
    assert!(grown < list + SLACK, "{grown} bytes more, of which the guest has {list}");
}
