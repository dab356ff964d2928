//! Legacy core modules, exactly as their authors left them, wrapped and run.

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::{AbCall, ab_call_ok_http};
use alga_bridge::error::AbError;
use alga_bridge::legacy::ab_adapt_legacy;
use host::{Engine, Run, take_error, take_owned, text};
use serde_json::json;

fn adapt(module: &[u8]) -> Result<Vec<u8>, (AbStatus, String)> {
    let (mut component, mut error) = (AbOwned::EMPTY, std::ptr::null_mut::<AbError>());
    match unsafe { ab_adapt_legacy(module.into(), &mut component, &mut error) } {
        AbStatus::Ok => Ok(take_owned(component)),
        _ => Err(take_error(error)),
    }
}

/// A module with the exports of the legacy interface; its allocator gives odd addresses.
fn module(imports: &str, handler: &str) -> Vec<u8> {
    let text = format!(
        r#"(module {imports}
            (memory (export "memory") 2)
            (global $heap (mut i32) (i32.const 8193))
            (func $alloc (export "alloc") (param $len i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $heap))
                (global.set $heap (i32.add (i32.or (global.get $heap) (i32.const 1)) (i32.and (i32.add (local.get $len) (i32.const 1)) (i32.const -2))))
                (local.get $at))
            (func (export "dealloc") (param i32 i32))
            (func (export "handler") (param $request i32) (param $len i32) (param $out i32) (result i32) {handler}))"#
    );
    wat::parse_str(text).expect("valid text")
}

const GIVE_BACK: &str = "(i32.store (local.get $out) (local.get $request)) (i32.store offset=4 (local.get $out) (local.get $len)) (i32.const 0)";

#[test]
fn a_module_gets_its_request_as_json() {
    let engine = Engine::new();
    let component = engine.load(&adapt(&module("", GIVE_BACK)).expect("wrapped"));
    let mut run = Run::get("/a/b?x=1&y=two%20words").body(b"hi");
    run.headers = vec![("x-a".into(), "1".into()), ("x-a".into(), "2".into())];
    let ended = run.finish(&component);
    assert_eq!((ended.end, ended.status), (AbEnd::Ok, 200), "{ended:?}");
    let context = json!({"request_id": "request-1", "tenant_id": "tenant-1",
        "extension_id": "extension-1", "install_id": "install-1", "version_id": null});
    let http = json!({"method": "POST", "path": "/a/b", "query": {"x": "1", "y": "two words"},
        "headers": {"x-a": "1, 2"}, "body_b64": "aGk="});
    assert_eq!(ended.json(), json!({"context": context, "http": http}));
}

fn answering(answer: &str) -> Vec<u8> {
    let escaped = answer.replace('"', "\\\"");
    let data = format!("(data (i32.const 64) \"{escaped}\")");
    let handler = format!(
        "(i32.store (local.get $out) (i32.const 64)) (i32.store offset=4 (local.get $out) (i32.const {})) (i32.const 0)",
        answer.len()
    );
    module(&data, &handler)
}

#[test]
fn its_answer_is_read_as_json() {
    let engine = Engine::new();
    let answer = r#"{"status":418,"headers":{"x-b":"2"},"body_b64":"dGVh"}"#;
    let ended = Run::get("/").finish(&engine.load(&adapt(&answering(answer)).expect("wrapped")));
    assert_eq!((ended.status, ended.body.as_deref()), (418, Some(&b"tea"[..])));
    assert_eq!(ended.headers, [("x-b".to_owned(), "2".to_owned())]);
    let ended =
        Run::get("/").finish(&engine.load(&adapt(&answering("just text")).expect("wrapped")));
    assert_eq!((ended.status, ended.body.as_deref()), (200, Some(&b"just text"[..])));
}

#[test]
fn a_code_other_than_zero_is_a_failure_of_the_guest() {
    let engine = Engine::new();
    let ended =
        Run::get("/").finish(&engine.load(&adapt(&module("", "(i32.const 42)")).expect("wrapped")));
    assert_eq!(ended.end, AbEnd::GuestTrap);
    assert!(ended.message.contains("42"), "{ended:?}");
}

#[test]
fn it_logs_and_fetches_through_the_host() {
    let engine = Engine::new();
    let request =
        r#"{"url":"https://x.test/","method":"PUT","headers":{"a":"b"},"body_b64":"aGk="}"#;
    let (escaped, length) = (request.replace('"', "\\\""), request.len());
    let imports = format!(
        r#"(import "alga" "log_info" (func $info (param i32 i32)))
        (import "alga" "http.fetch" (func $fetch (param i32 i32 i32) (result i32)))
        (data (i32.const 64) "hello") (data (i32.const 128) "{escaped}")"#
    );
    let handler = format!(
        "(call $info (i32.const 64) (i32.const 5)) (call $fetch (i32.const 128) (i32.const {length}) (local.get $out))"
    );
    let component = engine.load(&adapt(&module(&imports, &handler)).expect("wrapped"));
    let respond = |request: &AbHostRequest, call: *mut AbCall| {
        let http = unsafe { &*request.http };
        let sent = unsafe { pairs(http.headers, http.n_headers) };
        assert_eq!((text(http.method), text(http.url)), ("PUT".into(), "https://x.test/".into()));
        assert_eq!((sent, text(http.body)), (vec![("a".into(), "b".into())], "hi".into()));
        let body = AbOwned::from_vec(b"there".to_vec());
        let response =
            AbHttpResponse { status: 201, headers: std::ptr::null(), n_headers: 0, body };
        unsafe { ab_call_ok_http(call, &response) };
        0
    };
    let mut exec = Run::get("/").on_call(respond).start(&component);
    exec.run();
    let ended = exec.ended();
    assert_eq!((ended.status, ended.body.as_deref()), (201, Some(&b"there"[..])), "{ended:?}");
    assert_eq!(exec.record.logs.lock().unwrap()[0], (AbLogLevel::Info, "hello".to_owned()));
    let refused = Run::get("/").finish(&component);
    assert!(refused.message.contains("returned 2"), "not allowed: {refused:?}");
}

#[test]
fn a_module_without_dealloc_is_fine_and_one_without_alloc_is_not() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "handler") (param i32 i32 i32) (result i32) (i32.const 7)))"#;
    assert!(adapt(&wat::parse_str(text).unwrap()).is_ok());
    let (status, message) =
        adapt(&wat::parse_str(text.replace("\"alloc\"", "\"allocate\"")).unwrap()).unwrap_err();
    assert_eq!(status, AbStatus::Invalid);
    assert!(message.contains("alloc"), "{message}");
}

#[test]
fn only_core_modules_are_wrapped() {
    for bytes in [&b"text"[..], &host::guests::plain(host::guests::ECHO)] {
        assert_eq!(adapt(bytes).unwrap_err().0, AbStatus::Invalid);
    }
    let unknown = r#"(import "env" "mystery" (func $m))"#;
    let (status, message) = adapt(&module(unknown, "(call $m) (i32.const 0)")).unwrap_err();
    assert_eq!(status, AbStatus::Invalid);
    assert!(message.contains("env"), "{message}");
}
