//! Components of the toolchains that extensions of the field were made with, built from one source by
//! `tests/guests/historic/build.sh OUTDIR`:
//!
//! ```text
//! ALGA_HISTORIC_GUESTS=OUTDIR cargo test --release --features historic-guests --test historic
//! ```

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use host::{Component, Ended, Engine, Run, text};

fn guest(engine: &Engine, name: &str) -> Component {
    let folder = std::env::var("ALGA_HISTORIC_GUESTS").expect("ALGA_HISTORIC_GUESTS is set");
    let path = std::path::Path::new(&folder).join(format!("{name}.wasm"));
    let wasm = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    engine.load(&wasm)
}

/// Has one setting.
fn settings(request: &AbHostRequest, call: *mut AbCall) -> i32 {
    assert_eq!(request.op, AbOp::ConfigGet);
    assert_eq!(text(request.key), "greeting");
    unsafe { ab_call_ok_string(call, AbOwned::from_vec(b"hello".to_vec())) };
    0
}

fn ask(component: &Component) -> (Ended, Vec<String>) {
    let mut run = Run::get("/historic?x=1").body(b"abc").on_call(settings);
    run.limits.memory_bytes = 64 << 20;
    let mut exec = run.start(component);
    exec.run();
    let logs = exec.record.logs.lock().unwrap().iter().map(|(_, line)| line.clone()).collect();
    (exec.ended(), logs)
}

/// `live_random`: whether each execution draws other numbers.
fn javascript(name: &str, live_random: bool) {
    let engine = Engine::new();
    let component = guest(&engine, name);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (ended, logs) = ask(&component);
        assert_eq!(ended.end, AbEnd::Ok, "{name}: {ended:?}");
        assert_eq!(logs, ["POST /historic?x=1"], "{name}");
        let repeated: Vec<_> = ended.headers.iter().filter(|(n, _)| n == "x-one").collect();
        assert_eq!(repeated.len(), 2, "{name}: {ended:?}");
        let answer = ended.json();
        assert_eq!(answer["calls"], 1, "{name}: state survived");
        assert_eq!(answer["tenant"], "tenant-1");
        assert_eq!(answer["url"], "/historic?x=1");
        assert_eq!(answer["body"], "abc");
        assert_eq!(answer["greeting"], "hello");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_millis() as f64 - answer["now"].as_f64().expect("a time");
        assert!((0.0..60_000.0).contains(&age), "{name}: the clock stands still: {answer}");
        seen.push(answer["random"].as_f64().expect("a number"));
    }
    assert_eq!(seen[0] != seen[1], live_random, "{name}: Math.random gave {seen:?}");
}

#[test]
fn components_of_componentize_js_0_19_to_0_22_run() {
    for version in ["0-19", "0-20", "0-21", "0-22"] {
        javascript(&format!("componentize-js-{version}"), true);
    }
}

#[test]
fn a_component_of_jco_with_quickjs_runs() {
    // Its generator is seeded when the component is built: every execution draws the same numbers.
    javascript("jco-quickjs", false);
}

#[test]
fn a_component_of_cpp_without_a_library_runs() {
    let engine = Engine::new();
    let (ended, logs) = ask(&guest(&engine, "cpp"));
    assert_eq!((ended.end, ended.status), (AbEnd::Ok, 200), "{ended:?}");
    assert_eq!(ended.body.as_deref(), Some(&b"abc"[..]));
    assert_eq!(ended.headers, [("x-setting".to_owned(), "hello".to_owned())]);
    assert_eq!(logs, ["C++ runs"]);
}

#[test]
fn a_component_of_rust_runs() {
    let engine = Engine::new();
    let ended = Run::get("/x").finish(&guest(&engine, "rust"));
    assert_eq!((ended.end, ended.status), (AbEnd::Ok, 200), "{ended:?}");
    assert_eq!(ended.body.as_deref(), Some(&br#"{"ok":true}"#[..]));
}
