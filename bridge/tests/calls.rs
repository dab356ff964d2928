//! Host calls: completed inline, later, elsewhere, never; and what becomes of them when a guest goes.

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use alga_bridge::exec::{ab_exec_free, ab_exec_poll};
use host::guests::{ECHO, V1, guest, plain};
use host::{Component, Engine, Exec, Run, text};
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Calls `config.get("key")` and answers with the bytes of the value, or with 404 (no value) or 500
/// (an error).
fn config_guest() -> Vec<u8> {
    let fields = r#"(import "alga:extension/config@1.0.0" "get" (func $get (param i32 i32 i32)))
        (data (i32.const 256) "key")"#;
    let body = "(call $get (i32.const 256) (i32.const 3) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (call $answer (i32.const 500) (i32.const 0) (i32.const 0)))))
        (if (i32.eqz (i32.load8_u offset=4 (i32.const 512))) (then (return (call $answer (i32.const 404) (i32.const 0) (i32.const 0)))))
        (call $answer (i32.const 200) (i32.load offset=8 (i32.const 512)) (i32.load offset=12 (i32.const 512)))";
    guest(V1, &["alga:extension/config@1.0.0"], fields, body)
}

fn sleeping_guest(milliseconds: u64) -> Vec<u8> {
    let fields = r#"
        (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $subscribe (param i64) (result i32)))
        (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))"#;
    let nanoseconds = milliseconds * 1_000_000;
    let body = format!(
        "(call $block (call $subscribe (i64.const {nanoseconds}))) (call $answer (i32.const 200) (i32.const 0) (i32.const 0))"
    );
    guest(V1, &["wasi:clocks/monotonic-clock@0.2.3", "wasi:io/poll@0.2.3"], fields, &body)
}

fn released(counter: &Arc<AtomicU32>, bytes: &'static [u8]) -> AbOwned {
    unsafe extern "C-unwind" fn release(ctx: *mut c_void) {
        unsafe { Arc::from_raw(ctx.cast::<AtomicU32>()) }.fetch_add(1, Ordering::SeqCst);
    }
    AbOwned {
        data: bytes.as_ptr(),
        len: bytes.len(),
        release: Some(release),
        ctx: Arc::into_raw(counter.clone()).cast_mut().cast(),
    }
}

/// A host that keeps the call for later.
#[derive(Clone, Default)]
struct Kept(Arc<AtomicPtr<AbCall>>);

impl Kept {
    fn handler(&self) -> impl Fn(&AbHostRequest, *mut AbCall) -> i32 + use<> {
        let kept = self.0.clone();
        move |_, call| {
            kept.store(call, Ordering::SeqCst);
            0
        }
    }

    fn take(&self) -> *mut AbCall {
        let call = self.0.swap(std::ptr::null_mut(), Ordering::SeqCst);
        assert!(!call.is_null(), "the call was made");
        call
    }
}

fn waiting(component: &Component) -> (Exec, Kept) {
    let kept = Kept::default();
    let mut exec = Run::get("/").on_call(kept.handler()).start(component);
    exec.settle();
    (exec, kept)
}

#[test]
fn a_call_completed_inside_the_callback_needs_no_notification() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let mut exec = Run::get("/")
        .on_call(move |request, call| {
            assert_eq!((request.op, text(request.key)), (AbOp::ConfigGet, "key".to_owned()));
            unsafe { ab_call_ok_string(call, released(&counter, b"value")) };
            0
        })
        .start(&component);
    exec.run();
    let ended = exec.ended();
    assert_eq!(ended.body.as_deref(), Some(&b"value"[..]));
    assert_eq!(
        (ended.stats.host_calls, ended.stats.host_bytes_in, ended.stats.host_bytes_out),
        (1, 3, 5)
    );
    assert_eq!(exec.record.notifications(), 0);
    assert_eq!(count.load(Ordering::SeqCst), 1, "the buffer is released once");
}

#[test]
fn a_call_completed_from_another_thread_notifies_once() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let (mut exec, kept) = waiting(&component);
    assert_eq!(exec.record.notifications(), 0);
    let call = kept.take() as usize;
    std::thread::spawn(move || unsafe { ab_call_ok_none(call as *mut AbCall) }).join().unwrap();
    assert_eq!(exec.record.notifications(), 1);
    assert_eq!(exec.settle(), AbPoll::Ready);
    assert_eq!(exec.ended().status, 404);
}

#[test]
fn a_spurious_poll_of_a_waiting_guest_changes_nothing() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let (mut exec, kept) = waiting(&component);
    for _ in 0..10 {
        assert_eq!(exec.settle(), AbPoll::Pending);
    }
    unsafe { ab_call_err(kept.take(), 1) };
    exec.run();
    assert_eq!(exec.ended().status, 500);
    assert_eq!(exec.settle(), AbPoll::Ready, "and stays so");
}

#[test]
fn freeing_an_execution_abandons_its_call_and_completing_it_later_is_harmless() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let (exec, kept) = waiting(&component);
    let call = kept.take();
    let id = unsafe { ab_call_id(call) };
    let record = exec.free();
    assert_eq!(*record.abandoned.lock().unwrap(), [id]);
    assert_eq!(engine.pool().live_component_instances, 0, "the guest is gone at once");
    let count = Arc::new(AtomicU32::new(0));
    unsafe { ab_call_ok_string(call, released(&count, b"too late")) };
    assert_eq!(count.load(Ordering::SeqCst), 1, "a refused value is released");
    assert_eq!(record.notifications(), 0);
}

#[test]
fn completing_a_call_after_component_and_engine_are_gone_is_harmless() {
    let kept = Kept::default();
    {
        let engine = Engine::new();
        let component = engine.load(&config_guest());
        let mut exec = Run::get("/").on_call(kept.handler()).start(&component);
        assert_eq!(exec.settle(), AbPoll::Pending);
    }
    unsafe { ab_call_abort(kept.take(), "nobody listens".into()) };
}

#[test]
fn an_answer_of_the_wrong_kind_is_an_internal_error_for_the_guest() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let wrong: [fn(*mut AbCall); 3] = [
        |call| unsafe { ab_call_ok_u64(call, 7) },
        |call| unsafe { ab_call_ok_context(call, std::ptr::null()) },
        |call| unsafe { ab_call_ok_string(call, AbOwned::from_vec(vec![0xff, 0xfe])) },
    ];
    for complete in wrong {
        let run = Run::get("/").on_call(move |_, call| {
            complete(call);
            0
        });
        assert_eq!(run.finish(&component).status, 500);
    }
}

#[test]
fn an_aborted_call_ends_the_execution_with_its_reason() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let run = Run::get("/").on_call(|_, call| {
        unsafe { ab_call_abort(call, "quota of calls".into()) };
        0
    });
    let ended = run.finish(&component);
    assert_eq!(ended.end, AbEnd::Host);
    assert!(ended.message.contains("quota of calls"), "{ended:?}");
}

#[test]
fn a_refused_call_ends_the_execution() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    assert_eq!(Run::get("/").on_call(|_, _| 1).finish(&component).end, AbEnd::Host);
    let consumed_and_refused = |_: &AbHostRequest, call: *mut AbCall| {
        unsafe { ab_call_ok_none(call) };
        1
    };
    let ended = Run::get("/").on_call(consumed_and_refused).finish(&component);
    assert_eq!(ended.end, AbEnd::Host, "even by a host that breaks the rule");
}

#[test]
fn a_panicking_callback_poisons_its_execution_only() {
    let engine = Engine::new();
    let component = engine.load(&config_guest());
    let ended = Run::get("/").on_call(|_, _| panic!("a bug in the host")).finish(&component);
    assert_eq!(ended.end, AbEnd::Panic);
    assert!(ended.message.contains("a bug in the host"), "{ended:?}");
    assert_eq!(engine.pool().live_component_instances, 0);
    let echo = engine.load(&plain(ECHO));
    assert_eq!(Run::get("/").body(b"fine").finish(&echo).body.as_deref(), Some(&b"fine"[..]));
}

#[test]
fn a_timer_of_the_guest_wakes_its_execution() {
    let engine = Engine::new();
    let component = engine.load(&sleeping_guest(30));
    let started = Instant::now();
    let mut exec = Run::get("/").start(&component);
    exec.run();
    assert_eq!(exec.ended().status, 200);
    assert!(started.elapsed() >= Duration::from_millis(29), "{:?}", started.elapsed());
    assert!(exec.record.notifications() >= 1);
}

#[test]
fn a_sleeping_guest_is_dropped_at_once() {
    let engine = Engine::new();
    let component = engine.load(&sleeping_guest(3_600_000));
    let mut exec = Run::get("/").start(&component);
    exec.settle();
    exec.free(); // or this test takes an hour
    assert_eq!(engine.pool().live_component_instances, 0);
}

#[test]
fn many_sleepers_share_two_threads() {
    const SLEEP: Duration = Duration::from_millis(500);
    let engine = Engine::new();
    let component = engine.load(&sleeping_guest(SLEEP.as_millis() as u64));
    let started = Instant::now();
    let mut all: Vec<_> = (0..16).map(|_| Run::get("/").start(&component)).collect();
    for exec in &mut all {
        exec.settle();
    }
    for exec in &mut all {
        exec.run();
        assert_eq!(exec.ended().status, 200);
    }
    // One after the other, however slow the machine.
    assert!(started.elapsed() < 16 * SLEEP, "{:?}", started.elapsed());
}

#[test]
fn an_execution_may_be_dropped_at_any_moment() {
    let engine = Engine::new();
    let guests = [config_guest(), sleeping_guest(2), plain("(loop $l (br $l)) unreachable")];
    let components: Vec<_> = guests.iter().map(|wasm| engine.load(wasm)).collect();
    for round in 0..300_usize {
        let pending = Arc::new(Mutex::new(Vec::<usize>::new()));
        let calls = pending.clone();
        let run = Run::get("/").on_call(move |_, call| {
            calls.lock().unwrap().push(call as usize);
            0
        });
        let mut exec = run.start(&components[round % 3]);
        for _ in 0..round % 5 {
            if exec.poll() == AbPoll::Ready {
                break;
            }
            std::thread::sleep(Duration::from_micros((round % 7) as u64 * 100));
        }
        // Half of the calls are completed on another thread while the guest is dropped.
        let racing: Vec<usize> = pending.lock().unwrap().drain(..).collect();
        let completer = std::thread::spawn(move || {
            for call in racing {
                unsafe { ab_call_ok_none(call as *mut AbCall) };
            }
        });
        exec.free();
        completer.join().unwrap();
    }
    assert_eq!(engine.pool().live_component_instances, 0);
}

#[test]
fn an_execution_moves_between_threads() {
    let engine = Engine::new();
    let component = engine.load(&plain(
        "(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 30000000)))) (call $answer (i32.const 200) (i32.const 0) (i32.const 0))",
    ));
    let exec = Run::get("/").start(&component);
    let raw = exec.raw as usize;
    let mut threads = 0;
    loop {
        let poll = std::thread::spawn(move || unsafe { ab_exec_poll(raw as *mut _) });
        threads += 1;
        if poll.join().unwrap() == AbPoll::Ready {
            break;
        }
    }
    assert!(threads > 1, "at least one slice ended");
    assert_eq!(exec.ended().status, 200);
    let last = exec.raw as usize;
    std::mem::forget(exec);
    std::thread::spawn(move || unsafe { ab_exec_free(last as *mut _) }).join().unwrap();
}
