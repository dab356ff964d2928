//! Guests as authors write them. Building them needs the npm registry, hence `#[ignore]`:
//! `tests/guests/build.sh DIR && ALGA_GUESTS=DIR cargo test --release -- --ignored`.

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use host::guests::javascript;
use host::{Component, Engine, Run, text};
use serde_json::json;
use std::sync::{Mutex, OnceLock};

fn limits(limits: &mut AbLimits) {
    limits.memory_bytes = 128 << 20;
}

fn engine() -> &'static Engine {
    struct Shared(Engine);
    unsafe impl Send for Shared {}
    unsafe impl Sync for Shared {}
    static ENGINE: OnceLock<Shared> = OnceLock::new();
    &ENGINE.get_or_init(|| Shared(Engine::new())).0
}

fn echo() -> &'static Component {
    static ECHO: OnceLock<Component> = OnceLock::new();
    ECHO.get_or_init(|| engine().load(&javascript("js-echo")))
}

fn compat() -> &'static Component {
    static COMPAT: OnceLock<Component> = OnceLock::new();
    COMPAT.get_or_init(|| engine().load(&javascript("js-compat-echo")))
}

fn run(url: &str) -> Run {
    Run::get(url).limits(limits)
}

fn owned(bytes: &[u8]) -> AbOwned {
    AbOwned::from_vec(bytes.to_vec())
}

fn pair<'a>(name: &'a str, value: &'a str) -> AbPair {
    AbPair { name: name.into(), value: value.into() }
}

/// Namespace, key, value, revision.
type Stored = Option<(String, String, Vec<u8>, u64)>;

/// A host that grants everything and keeps one record.
fn generous() -> impl Fn(&AbHostRequest, *mut AbCall) -> i32 {
    let stored: Mutex<Stored> = Mutex::new(None);
    move |request, call| {
        let mut stored = stored.lock().unwrap();
        unsafe {
            match request.op {
                AbOp::ContextGet => {
                    let context = AbContext {
                        request_id: "r".into(),
                        tenant_id: "t".into(),
                        extension_id: "e".into(),
                        install_id: "i".into(),
                        version_id: "v".into(),
                        has_request_id: 1,
                        has_install_id: 1,
                        has_version_id: 0,
                    };
                    ab_call_ok_context(call, &context);
                }
                AbOp::ContextRemaining => ab_call_ok_u64(call, 1234),
                AbOp::ConfigGet if text(request.key) == "missing" => ab_call_ok_none(call),
                AbOp::ConfigGet => ab_call_ok_string(call, owned(b"value")),
                AbOp::ConfigEntries => {
                    let entries = [pair("a", "1"), pair("b", "2")];
                    ab_call_ok_pairs(call, entries.as_ptr(), entries.len());
                }
                AbOp::SecretGet => ab_call_ok_string(call, owned("gehéim".as_bytes())),
                AbOp::SecretKeys => ab_call_ok_pairs(call, [pair("key", "")].as_ptr(), 1),
                AbOp::HttpFetch => {
                    let http = &*request.http;
                    let sent = pairs(http.headers, http.n_headers);
                    let body = json!({
                        "method": text(http.method), "url": text(http.url), "headers": sent,
                        "body": (http.has_body != 0).then(|| text(http.body)),
                    });
                    let headers = [pair("content-type", "application/json"), pair("x-twice", "1")];
                    let response = AbHttpResponse {
                        status: 201,
                        headers: headers.as_ptr(),
                        n_headers: headers.len(),
                        body: owned(body.to_string().as_bytes()),
                    };
                    ab_call_ok_http(call, &response);
                }
                AbOp::UiCall => {
                    let payload = (request.has_body != 0).then(|| text(request.body));
                    ab_call_ok_bytes(
                        call,
                        owned(format!("{} {payload:?}", text(request.key)).as_bytes()),
                    );
                }
                AbOp::UserGet => {
                    let additional = [pair("locale", "de")];
                    let user = AbUser {
                        tenant_id: "t".into(),
                        client_name: "Client".into(),
                        user_id: "u".into(),
                        user_email: "u@example.test".into(),
                        user_name: "User".into(),
                        user_type: "internal".into(),
                        client_id: "c".into(),
                        has_client_id: 1,
                        additional: additional.as_ptr(),
                        n_additional: 1,
                    };
                    ab_call_ok_user(call, &user);
                }
                AbOp::StorageGet | AbOp::StorageList | AbOp::StoragePut | AbOp::StorageDelete => {
                    storage(request, call, &mut stored);
                }
                AbOp::Unoffered => return 0,
            }
        }
        0
    }
}

unsafe fn storage(request: &AbHostRequest, call: *mut AbCall, stored: &mut Stored) {
    unsafe {
        let wanted = &*request.storage;
        let conflict = match (wanted.condition, stored.as_ref()) {
            (AbCondition::Always, _) => false,
            (AbCondition::CreateOnly, existing) => existing.is_some(),
            (AbCondition::Revision, existing) => existing.map(|e| e.3) != Some(wanted.revision),
        };
        let view = |(ns, key, value, revision): &(String, String, Vec<u8>, u64)| AbStorageEntry {
            ns: ns.as_str().into(),
            key: key.as_str().into(),
            value: value.as_slice().into(),
            revision: *revision,
        };
        const MISSING: u32 = 2;
        const CONFLICT: u32 = 4;
        match (request.op, stored.as_ref()) {
            (AbOp::StoragePut, _) if conflict => ab_call_err(call, CONFLICT),
            (AbOp::StoragePut, existing) => {
                let revision = existing.map_or(1, |entry| entry.3 + 1);
                let value = wanted.value.bytes().to_vec();
                *stored = Some((text(wanted.ns), text(wanted.key), value, revision));
                ab_call_ok_u64(call, revision);
            }
            (AbOp::StorageGet, Some(entry)) => ab_call_ok_entry(call, &view(entry)),
            (AbOp::StorageDelete, Some(_)) => {
                *stored = None;
                ab_call_ok_none(call);
            }
            (AbOp::StorageList, Some(entry)) => {
                ab_call_ok_page(call, &view(entry), 1, "next".into(), 1);
            }
            _ => ab_call_err(call, MISSING),
        }
    }
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn the_request_reaches_the_handler_whole() {
    let mut request = run("/echo?x=1").body("grüße".as_bytes());
    request.headers = vec![("x-a".into(), "1".into()), ("x-a".into(), "2".into())];
    let ended = request.finish(echo());
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(ended.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    let context = json!({"requestId": "request-1", "tenantId": "tenant-1",
        "extensionId": "extension-1", "installId": "install-1"});
    let headers = json!([{"name": "x-a", "value": "1"}, {"name": "x-a", "value": "2"}]);
    assert_eq!(
        ended.json(),
        json!({"context": context, "method": "POST", "url": "/echo?x=1", "headers": headers, "body": "grüße"})
    );
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn no_body_is_not_an_empty_body() {
    let ended = run("/nothing").finish(echo());
    assert_eq!((ended.status, ended.body), (204, None));
    let ended = run("/bytes").finish(echo());
    assert_eq!(ended.body, None, "none in, none out");
    let ended = run("/bytes").body(b"").finish(echo());
    assert_eq!(ended.body, Some(Vec::new()));
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn a_large_body_makes_the_round_trip() {
    let body: Vec<u8> = (0..4 << 20).map(|i: u32| (i * 7) as u8).collect();
    let ended = run("/bytes").body(&body).finish(echo());
    assert!(ended.body == Some(body), "{:?}", ended.end);
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn every_capability_of_the_contract_answers() {
    let get = |url: &str| {
        let ended = run(url).on_call(generous()).finish(echo());
        assert_eq!(ended.status, 200, "{ended:?}");
        ended.json()
    };
    let context = json!({"requestId": "r", "tenantId": "t", "extensionId": "e", "installId": "i"});
    assert_eq!(get("/context"), json!({"context": context, "remaining": 1234}));
    let entries = json!({"ok": [["a", "1"], ["b", "2"]]});
    assert_eq!(get("/config"), json!({"value": {"ok": "value"}, "entries": entries}));
    assert_eq!(get("/config?key=missing")["value"], json!({}));
    assert_eq!(get("/secret"), json!({"value": {"ok": "gehéim"}, "keys": {"ok": ["key"]}}));
    assert_eq!(get("/proxy"), json!({"ok": "/api/x None"}));
    let user = json!({"tenantId": "t", "clientName": "Client", "userId": "u",
        "userEmail": "u@example.test", "userName": "User", "userType": "internal",
        "clientId": "c", "additionalFields": [["locale", "de"]]});
    assert_eq!(get("/user"), json!({"ok": user}));
    let entry = json!({"namespace": "notes", "key": "a", "value": "one", "revision": 1});
    assert_eq!(
        get("/storage"),
        json!({"created": {"ok": 1}, "again": {"err": "conflict"}, "read": {"ok": entry},
            "stale": {"err": "conflict"}, "deleted": {}, "missing": {"err": "missing"},
            "listed": {"ok": {"entries": [entry], "nextCursor": "next"}}})
    );
    let fetched = get("/fetch?url=https://a.test/b");
    assert_eq!(fetched["ok"]["status"], 201);
    let sent: serde_json::Value =
        serde_json::from_str(fetched["ok"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({"method": "GET", "url": "https://a.test/b", "headers": [["x-from", "guest"]], "body": null})
    );
    assert_eq!(get("/main-job"), json!({"upstream": 201, "revision": 1}));
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn a_refused_capability_is_an_error_of_its_interface() {
    let get = |url: &str| run(url).finish(echo()).json(); // the default host denies everything
    assert_eq!(get("/config")["value"], json!({"err": "denied"}));
    assert_eq!(get("/secret")["value"], json!({"err": "denied"}));
    assert_eq!(get("/user"), json!({"err": "not-allowed"}));
    assert_eq!(get("/fetch"), json!({"err": "not-allowed"}));
    assert_eq!(get("/proxy"), json!({"err": "denied"}));
    assert_eq!(get("/storage")["read"], json!({"err": "denied"}));
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn log_lines_and_standard_streams_are_captured() {
    let mut exec = run("/log").start(echo());
    exec.run();
    assert_eq!(exec.ended().end, AbEnd::Ok);
    let record = exec.free();
    use AbLogLevel::*;
    let levels: Vec<_> = record.logs.lock().unwrap().iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Debug, Info, Warn, Error]);
    assert_eq!(record.logs.lock().unwrap()[1].1, "a info line");
    assert!(record.stderr().contains("to standard error"), "{}", record.stderr());
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn guest_timers_wake_the_execution() {
    let started = std::time::Instant::now();
    let mut exec = run("/sleep?ms=50").start(echo());
    exec.run();
    assert_eq!(exec.ended().json(), json!({"slept": 50}));
    assert!(started.elapsed().as_millis() >= 50);
    assert!(exec.ended().stats.poll_ns < 45_000_000, "waiting is not computing");
    assert!(exec.record.notifications() >= 1);
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn nothing_survives_from_one_execution_to_the_next() {
    for _ in 0..3 {
        assert_eq!(run("/counter").finish(echo()).json(), json!({"counter": 1}));
    }
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn time_and_randomness_are_live() {
    let one = run("/random").finish(echo()).json();
    let other = run("/random").finish(echo()).json();
    for field in ["uuid", "random", "math"] {
        assert_ne!(one[field], other[field], "{field}");
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    assert!((other["now"].as_i64().unwrap() - now).abs() < 5000, "{other}");
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn an_exception_is_a_trap_with_the_stack_of_the_script() {
    for (path, words) in [("/throw", "thrown on purpose"), ("/reject", "rejected on purpose")] {
        let ended = run(path).finish(echo());
        assert_eq!(ended.end, AbEnd::GuestTrap, "{ended:?}");
        assert!(ended.message.contains(words), "{}", ended.message);
        assert!(!ended.backtrace.is_empty());
    }
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn hostile_scripts_end_at_their_limit() {
    let ended = run("/allocate").finish(echo());
    assert_eq!(ended.end, AbEnd::MemoryLimit, "{ended:?}");
    let ended = run("/recurse").finish(echo());
    // The engine inside has a stack limit of its own and throws before ours is reached.
    assert!(ended.json()["err"].as_str().is_some_and(|e| e.contains("recursion")), "{ended:?}");
    for path in ["/loop", "/regex"] {
        let mut endless = run(path);
        endless.max_yields = Some(20);
        let mut exec = endless.start(echo());
        exec.run();
        assert!(exec.stats().yields >= 20, "{path}");
    }
    let mut flood = run("/log-flood");
    flood.refuse_logs = true;
    assert_eq!(flood.finish(echo()).end, AbEnd::Host);
    let refuse = run("/call-flood").on_call(|_, _| 1);
    assert_eq!(refuse.finish(echo()).end, AbEnd::Host);
    let ended = run("/big-call?size=9000000").finish(echo());
    assert_eq!(ended.end, AbEnd::HostcallBytes, "{ended:?}");
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn a_promise_that_never_settles_is_a_trap() {
    let mut exec = run("/await-forever").start(echo());
    for _ in 0..50 {
        if exec.poll() != AbPoll::Yielded {
            break;
        }
    }
    // Its event loop sees that nothing can happen any more.
    assert_eq!(exec.ended().end, AbEnd::GuestTrap);
    exec.free();
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn bundles_of_the_reference_system_run() {
    let get = |url: &str| {
        let ended = run(url).body(b"payload").on_call(generous()).finish(compat());
        assert_eq!(ended.status, 200, "{ended:?}");
        ended.json()
    };
    assert_eq!(get("/echo")["context"]["tenantId"], "tenant-1");
    assert_eq!(get("/context")["tenantId"], "t");
    assert_eq!(get("/secret"), json!({"value": {"ok": "gehéim"}, "keys": ["key"]}).replace_keys());
    assert_eq!(get("/fetch")["ok"]["status"], 201);
    let entry = |revision: u64| json!({"namespace": "notes", "key": "a", "value": "one", "revision": revision});
    assert_eq!(
        get("/storage"),
        json!({"put": {"ok": entry(1)}, "stale": {"err": "conflict"}, "read": {"ok": entry(1)},
            "listed": {"ok": [entry(1)]}, "deleted": {}})
    );
    let v1 = json!({"tenantId": "t", "clientName": "Client", "userId": "u",
        "userEmail": "u@example.test", "userName": "User", "userType": "internal"});
    let users = get("/user");
    assert_eq!(users["v1"]["ok"], v1);
    assert_eq!(users["v2"]["ok"]["additionalFields"], json!([["locale", "de"]]));
    assert_eq!(get("/log"), json!({"logged": 3}));
}

trait ReplaceKeys {
    fn replace_keys(self) -> serde_json::Value;
}

impl ReplaceKeys for serde_json::Value {
    /// `list-keys` of the unversioned package has no error, so the guest's `attempt` wraps the list.
    fn replace_keys(mut self) -> serde_json::Value {
        let keys = self["keys"].take();
        self["keys"] = json!({ "ok": keys });
        self
    }
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn what_is_not_offered_is_refused_in_the_words_of_the_reference_and_reported() {
    let mut exec = run("/unoffered").start(compat());
    exec.run();
    let scheduler = "Permission denied: cap:scheduler.manage not granted";
    let invoicing = "Permission denied: cap:invoice.manual.create not granted";
    let denied = json!({"err": "denied"});
    let not_allowed = json!({"err": "not-allowed"});
    let failed = |error: &str| json!({"ok": {"success": false, "error": error}});
    assert_eq!(
        exec.ended().json(),
        json!({"schedules": denied, "schedule": denied, "endpoints": denied,
            "create": failed(scheduler), "update": failed(scheduler), "delete": failed(scheduler),
            "invoice": failed(invoicing), "clients": not_allowed, "client": not_allowed,
            "services": not_allowed, "service": not_allowed})
    );
    let record = exec.free();
    assert_eq!(record.ops(), [AbOp::Unoffered; 11]);
    assert_eq!(record.ops.lock().unwrap()[0].2, "alga:extension/scheduler#list-schedules");
}

#[test]
#[ignore = "needs tests/guests/build.sh"]
fn the_platform_fetch_becomes_a_host_call_and_never_a_socket() {
    let component = engine().load(&javascript("js-fetch"));
    let mut exec = run("/?url=https://a.test/x&method=PUT")
        .body(b"sent")
        .on_call(generous())
        .start(&component);
    exec.run();
    let ended = exec.ended().json();
    assert_eq!((&ended["status"], &ended["type"]), (&json!(201), &json!("application/json")));
    let sent: serde_json::Value = serde_json::from_str(ended["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&sent["method"], &sent["url"], &sent["body"]),
        (&json!("PUT"), &json!("https://a.test/x"), &json!("sent"))
    );
    let record = exec.free();
    let ops = record.ops.lock().unwrap();
    assert_eq!((ops[0].0, ops[0].1, ops.len()), (AbOp::HttpFetch, AbVia::Wasi, 1));
    drop(ops);

    let denied = run("/").finish(&component).json();
    assert!(denied["failed"].as_str().is_some(), "{denied}");
}
