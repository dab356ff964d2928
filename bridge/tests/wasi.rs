//! What WASI does not give to guests: files, sockets, names, an environment, arguments, input.

mod host;

use alga_bridge::abi::*;
use host::guests::{V1, guest};
use host::{Engine, Run};

const IMPORTS: [&str; 9] = [
    "wasi:filesystem/preopens@0.2.3",
    "wasi:sockets/instance-network@0.2.3",
    "wasi:sockets/tcp-create-socket@0.2.3",
    "wasi:sockets/udp-create-socket@0.2.3",
    "wasi:sockets/ip-name-lookup@0.2.3",
    "wasi:cli/environment@0.2.3",
    "wasi:cli/stdin@0.2.3",
    "wasi:io/streams@0.2.3",
    "wasi:io/poll@0.2.3",
];

const FUNCTIONS: &str = r#"
    (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))
    (import "wasi:sockets/instance-network@0.2.3" "instance-network" (func $network (result i32)))
    (import "wasi:sockets/tcp-create-socket@0.2.3" "create-tcp-socket" (func $tcp (param i32 i32)))
    (import "wasi:sockets/udp-create-socket@0.2.3" "create-udp-socket" (func $udp (param i32 i32)))
    (import "wasi:sockets/ip-name-lookup@0.2.3" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))
    (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/environment@0.2.3" "get-arguments" (func $arguments (param i32)))
    (import "wasi:cli/environment@0.2.3" "initial-cwd" (func $folder (param i32)))
    (import "wasi:cli/stdin@0.2.3" "get-stdin" (func $stdin (result i32)))
    (import "wasi:io/streams@0.2.3" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
    (data (i32.const 256) "localhost")
    (global $to (mut i32) (i32.const 768))

    ;; Appends a byte to the answer.
    (func $note (param i32)
        (i32.store8 (global.get $to) (local.get 0))
        (global.set $to (i32.add (global.get $to) (i32.const 1))))
    ;; The tag of a result at 512 and what lies behind it, four bytes further.
    (func $note-result
        (call $note (i32.load8_u (i32.const 512)))
        (call $note (i32.load8_u (i32.const 516))))
"#;

/// What a failed result of `wasi:sockets` holds: its tag and the number of the code.
const ACCESS_DENIED: [u8; 2] = [1, 1];
const PERMANENT_RESOLVER_FAILURE: [u8; 2] = [1, 20];
/// `stream-error.closed`.
const CLOSED: [u8; 2] = [1, 1];

fn sockets() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn a_guest_that_asks_for_everything_gets_no_files_no_sockets_and_nothing_of_the_host() {
    // As the bytes of its answer: the number of folders, of variables, of arguments, whether it has
    // a working folder; then four sockets, a name, and what it reads from its input.
    let body = "
        (call $directories (i32.const 512)) (call $note (i32.load (i32.const 516)))
        (call $environment (i32.const 512)) (call $note (i32.load (i32.const 516)))
        (call $arguments (i32.const 512)) (call $note (i32.load (i32.const 516)))
        (call $folder (i32.const 512)) (call $note (i32.load8_u (i32.const 512)))
        (call $tcp (i32.const 0) (i32.const 512)) (call $note-result)
        (call $tcp (i32.const 1) (i32.const 512)) (call $note-result)
        (call $udp (i32.const 0) (i32.const 512)) (call $note-result)
        (call $udp (i32.const 1) (i32.const 512)) (call $note-result)
        (call $resolve (call $network) (i32.const 256) (i32.const 9) (i32.const 512)) (call $note-result)
        (call $read (call $stdin) (i64.const 1) (i32.const 512)) (call $note-result)
        (call $answer (i32.const 200) (i32.const 768) (i32.sub (global.get $to) (i32.const 768)))";
    let engine = Engine::new();
    let component = engine.load(&guest(V1, &IMPORTS, FUNCTIONS, body));
    assert!(std::env::vars().count() > 0 && std::env::args().count() > 0, "there is something");
    let before = sockets();
    let mut exec = Run::get("/").start(&component);
    exec.run();
    let ended = exec.ended();
    assert_eq!(ended.end, AbEnd::Ok, "{ended:?}");
    assert_eq!(sockets(), before, "none is made, not even for a moment");
    let expected: Vec<u8> = [
        &[0, 0, 0, 0][..],
        &ACCESS_DENIED,
        &ACCESS_DENIED,
        &ACCESS_DENIED,
        &ACCESS_DENIED,
        &PERMANENT_RESOLVER_FAILURE,
        &CLOSED,
    ]
    .concat();
    assert_eq!(ended.body, Some(expected));
    assert_eq!(ended.stats.host_calls, 0, "nobody was asked");
}

#[test]
fn a_sibling_of_wasi_that_is_not_offered_does_not_link() {
    let engine = Engine::new();
    let fields = r#"(import "wasi:keyvalue/store@0.2.3" "open" (func $open (param i32 i32 i32)))"#;
    let body = "(call $open (i32.const 0) (i32.const 0) (i32.const 512)) unreachable";
    let wasm = guest(V1, &["wasi:keyvalue/store@0.2.3"], fields, body);
    let (status, message) = engine.try_load(&wasm).err().expect("must not link");
    assert_eq!(status, AbStatus::Link);
    assert!(message.contains("wasi:keyvalue/store@0.2.3"), "{message}");
}
