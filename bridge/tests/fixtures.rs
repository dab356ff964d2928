//! The small guests under `tests/guests/text`: this file is their source. The C++ tests of the engine
//! run them; each has one behaviour. They are committed, being a few kilobytes each, and this test
//! holds the committed bytes to the source. To write them anew:
//!
//! ```text
//! ALGA_REGENERATE=1 cargo test --release --test fixtures
//! ```

mod host;

use host::guests::{COMPAT, ECHO, V1, guest, plain, repository};

/// Imports of the functions that the guests below call.
const LOGGING: &str = "alga:extension/logging@1.0.0";
const LOG: &str =
    r#"(import "alga:extension/logging@1.0.0" "log" (func $log (param i32 i32 i32)))"#;
const CONFIG: &str = "alga:extension/config@1.0.0";
const GET_CONFIG: &str =
    r#"(import "alga:extension/config@1.0.0" "get" (func $get (param i32 i32 i32)))"#;
const SCHEDULER: &str = "alga:extension/scheduler";
const CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.3";
const NOW: &str =
    r#"(import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $clock (result i64)))"#;
const EXIT: &str = r#"(import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))"#;
const FETCH: &str = r#"(import "alga:extension/http@1.0.0" "fetch"
            (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
const SUBSCRIBE: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#;

/// `status` and no more.
fn answer(status: u32) -> String {
    format!("(call $answer (i32.const {status}) (i32.const 0) (i32.const 0))")
}

/// Asks for `https://api.test/slow` and answers what it was answered, or 500 plus the number of the
/// error.
fn fetch() -> Vec<u8> {
    let fields = format!(r#"{FETCH} (data (i32.const 256) "GEThttps://api.test/slow")"#);
    let body = "
        (call $fetch (i32.const 256) (i32.const 3) (i32.const 259) (i32.const 21)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512))
            (then (return (call $answer (i32.add (i32.const 500) (i32.load8_u (i32.const 516))) (i32.const 0) (i32.const 0)))))
        (call $answer (i32.load16_u (i32.const 516))
            (i32.load (i32.const 532))
            (select (i32.load (i32.const 536)) (i32.const 0) (i32.load8_u (i32.const 528))))";
    guest(V1, &["alga:extension/http@1.0.0"], &fields, body)
}

/// Asks for the same and exits with an error when it is refused, as a handler does that does not
/// catch it.
fn fetch_or_exit() -> Vec<u8> {
    let fields = format!(r#"{FETCH} {EXIT} (data (i32.const 256) "GEThttps://api.test/slow")"#);
    let body = "
        (call $fetch (i32.const 256) (i32.const 3) (i32.const 259) (i32.const 21)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (call $exit (i32.const 1)) unreachable))
        (call $answer (i32.load16_u (i32.const 516)) (i32.const 0) (i32.const 0))";
    guest(V1, &["alga:extension/http@1.0.0", "wasi:cli/exit@0.2.3"], &fields, body)
}

/// Spins on the clock until it has moved fifty times, and answers the smallest step in nanoseconds,
/// as eight bytes.
fn clock_step() -> Vec<u8> {
    let body = "
        (local $moves i32) (local $last i64) (local $now i64) (local $least i64)
        (local.set $least (i64.const 0x7fffffffffffffff))
        (local.set $last (call $clock))
        (loop $l
            (local.set $now (call $clock))
            (br_if $l (i64.eq (local.get $now) (local.get $last)))
            (if (i64.lt_u (i64.sub (local.get $now) (local.get $last)) (local.get $least))
                (then (local.set $least (i64.sub (local.get $now) (local.get $last)))))
            (local.set $last (local.get $now))
            (local.set $moves (i32.add (local.get $moves) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $moves) (i32.const 50))))
        (i64.store (i32.const 16) (local.get $least))
        (call $answer (i32.const 200) (i32.const 16) (i32.const 8))";
    guest(V1, &[CLOCK], NOW, body)
}

/// 250 MiB of memory, with an operation on nearly all of it for ever.
fn bulk(operation: &str) -> Vec<u8> {
    plain(&format!(
        "(drop (memory.grow (i32.const 3998))) (loop $l {operation} (br $l)) unreachable"
    ))
}

/// Reads the record `ns`/`key` and answers its value, or 500 plus the number of the error.
fn storage() -> Vec<u8> {
    let fields = r#"
        (import "alga:extension/storage@1.0.0" "get" (func $get (param i32 i32 i32 i32 i32)))
        (data (i32.const 256) "nskey")"#;
    let body = "
        (call $get (i32.const 256) (i32.const 2) (i32.const 258) (i32.const 3) (i32.const 512))
        (if (i32.load8_u (i32.const 512))
            (then (return (call $answer (i32.add (i32.const 500) (i32.load8_u (i32.const 520))) (i32.const 0) (i32.const 0)))))
        (call $answer (i32.const 200) (i32.load (i32.const 536)) (i32.load (i32.const 540)))";
    guest(V1, &["alga:extension/storage@1.0.0"], fields, body)
}

/// An answer with `count` headers `x`, whose list lies at `list`, where nothing else is.
fn headers(count: u32, list: u32) -> Vec<u8> {
    let pages = (list + 16 * count).div_ceil(65536);
    let length = list + 4;
    let grow = match pages.saturating_sub(2) {
        0 => String::new(),
        more => format!("(drop (memory.grow (i32.const {more})))"),
    };
    plain(&format!(
        "(local $i i32)
        {grow}
        (drop (call $answer (i32.const 200) (i32.const 0) (i32.const 0)))
        (i32.store8 (i32.const 8) (i32.const 120))
        (i32.store (i32.const 1028) (i32.const {list}))
        (i32.store (i32.const 1032) (i32.const {count}))
        (loop $l
            (i32.store (i32.add (i32.const {list}) (i32.mul (local.get $i) (i32.const 16))) (i32.const 8))
            (i32.store (i32.add (i32.const {length}) (i32.mul (local.get $i) (i32.const 16))) (i32.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const {count}))))
        (i32.const 1024)"
    ))
}

/// Sleeps for a minute on a timer of WASI.
fn sleep() -> Vec<u8> {
    let fields = format!(
        r#"{SUBSCRIBE} (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))"#
    );
    let body = format!("(call $block (call $subscribe (i64.const 60000000000))) {}", answer(200));
    guest(V1, &[CLOCK, "wasi:io/poll@0.2.3"], &fields, &body)
}

fn guests() -> Vec<(&'static str, Vec<u8>)> {
    let endless = |call: &str| format!("(loop $l {call} (br $l)) unreachable");
    vec![
        ("echo", plain(ECHO)),
        ("trap", plain("unreachable")),
        ("loop", plain(&endless(""))),
        (
            "recurse",
            plain(
                "(call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (call $down (i32.const 1)))) \
                 (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0)))",
            ),
        ),
        ("grow-memory", plain(&endless("(drop (memory.grow (i32.const 16)))"))),
        (
            "grow-table",
            guest(
                V1,
                &[],
                "(table $t 1 funcref)",
                &endless("(drop (table.grow $t (ref.null func) (i32.const 100)))"),
            ),
        ),
        (
            // Answers with a body of 1 MiB.
            "big-answer",
            plain(
                "(drop (memory.grow (i32.const 20))) (call $answer (i32.const 200) (i32.const 0) (i32.const 1048576))",
            ),
        ),
        ("many-headers", headers(200, 2048)),
        ("million-headers", headers(1_000_000, 131_072)),
        (
            // Counts in a global and in memory; answers the sum as one byte.
            "counter",
            guest(
                V1,
                &[],
                "(global $n (mut i32) (i32.const 0))",
                "(global.set $n (i32.add (global.get $n) (i32.const 1)))
                (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (global.get $n)))
                (call $answer (i32.const 200) (i32.const 16) (i32.const 1))",
            ),
        ),
        (
            "exit",
            guest(V1, &["wasi:cli/exit@0.2.3"], EXIT, "(call $exit (i32.const 1)) unreachable"),
        ),
        (
            "hoard",
            guest(
                V1,
                &[CLOCK],
                SUBSCRIBE,
                &endless("(drop (call $subscribe (i64.const 1000000000)))"),
            ),
        ),
        ("sleep", sleep()),
        (
            // Logs one line and answers.
            "log",
            guest(
                V1,
                &[LOGGING],
                &format!(r#"{LOG} (data (i32.const 256) "the guest ran")"#),
                &format!(
                    "(call $log (i32.const 1) (i32.const 256) (i32.const 13)) {}",
                    answer(200)
                ),
            ),
        ),
        (
            "log-flood",
            guest(
                V1,
                &[LOGGING],
                LOG,
                &endless("(call $log (i32.const 1) (i32.const 256) (i32.const 13))"),
            ),
        ),
        (
            // One call with 60,000 bytes.
            "big-call",
            guest(
                V1,
                &[LOGGING],
                LOG,
                &format!(
                    "(call $log (i32.const 1) (i32.const 256) (i32.const 60000)) {}",
                    answer(200)
                ),
            ),
        ),
        (
            "call-flood",
            guest(
                V1,
                &[CONFIG],
                GET_CONFIG,
                &endless("(call $get (i32.const 256) (i32.const 3) (i32.const 512))"),
            ),
        ),
        (
            // Never gets as far as its handler.
            "start-loop",
            guest(V1, &[], "(func $spin (loop $l (br $l))) (start $spin)", ECHO),
        ),
        (
            // Asks without end for what this product does not offer.
            "schedule-flood",
            guest(
                COMPAT,
                &[SCHEDULER],
                r#"(import "alga:extension/scheduler" "list-schedules" (func $list (param i32)))"#,
                &endless("(call $list (i32.const 512))"),
            ),
        ),
        (
            // Asks who it is and answers.
            "context",
            guest(
                V1,
                &["alga:extension/context@1.0.0"],
                r#"(import "alga:extension/context@1.0.0" "get-context" (func $get (param i32)))"#,
                &format!("(call $get (i32.const 512)) {}", answer(200)),
            ),
        ),
        ("fetch", fetch()),
        ("fetch-or-exit", fetch_or_exit()),
        ("clock-step", clock_step()),
        ("bulk-fill", bulk("(memory.fill (i32.const 0) (i32.const 7) (i32.const 262144000))")),
        ("bulk-copy", bulk("(memory.copy (i32.const 65536) (i32.const 0) (i32.const 262078464))")),
        (
            "bulk-table",
            guest(
                V1,
                &[],
                "(table $t 19000 funcref)",
                &endless("(table.fill $t (i32.const 0) (ref.null func) (i32.const 19000))"),
            ),
        ),
        ("storage", storage()),
        (
            "unknown-import",
            guest(
                V1,
                &["wasi:made-up/telepathy@9.0.0"],
                r#"(import "wasi:made-up/telepathy@9.0.0" "read-mind" (func $read (param i32)))"#,
                "(call $read (i32.const 0)) unreachable",
            ),
        ),
        ("core-module", wat::parse_str("(module (func (export \"handler\")))").expect("valid")),
    ]
}

#[test]
fn the_committed_guests_are_made_from_this_file() {
    let folder = repository().join("tests/guests/text");
    let regenerate = std::env::var_os("ALGA_REGENERATE").is_some();
    if regenerate {
        std::fs::create_dir_all(&folder).expect("the folder");
    }
    let mut named = Vec::new();
    for (name, wasm) in guests() {
        let path = folder.join(format!("{name}.wasm"));
        if regenerate {
            std::fs::write(&path, &wasm).expect("written");
        }
        let committed = std::fs::read(&path).unwrap_or_default();
        assert!(committed == wasm, "{name}.wasm differs: see the head of this file");
        named.push(path);
    }
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let known = path.extension().is_none_or(|e| e != "wasm") || named.contains(&path);
        assert!(known, "{} has no source", path.display());
    }
}
