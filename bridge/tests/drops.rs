//! Executions that are dropped wherever they stand: among thousands of timers, in the middle of a
//! request, while another thread answers. A callback after `ab_exec_free` fails each of these tests
//! (`host::Late`), and so does one that does not return (`host::in_time`).

mod host;

use alga_bridge::abi::*;
use alga_bridge::call::*;
use host::guests::{ECHO, V1, guest, plain};
use host::http::repeating;
use host::{Component, Engine, Exec, Lent, NotifyHandler, Record, Run, in_time};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TIMERS: u32 = 10_000;

/// A guest that waits for any of ten thousand timers, and then answers how many were ready.
fn timers(nanoseconds: u64) -> Vec<u8> {
    let fields = r#"
        (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $subscribe (param i64) (result i32)))
        (import "wasi:io/poll@0.2.3" "poll" (func $poll (param i32 i32 i32)))"#;
    let body = format!(
        "(local $i i32)
        (drop (memory.grow (i32.const 1)))
        (loop $l
            (i32.store (i32.add (i32.const 131072) (i32.mul (local.get $i) (i32.const 4)))
                (call $subscribe (i64.const {nanoseconds})))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const {TIMERS}))))
        (call $poll (i32.const 131072) (i32.const {TIMERS}) (i32.const 512))
        (i32.store (i32.const 520) (i32.load (i32.const 516)))
        (call $answer (i32.const 200) (i32.const 520) (i32.const 4))"
    );
    guest(V1, &["wasi:clocks/monotonic-clock@0.2.3", "wasi:io/poll@0.2.3"], fields, &body)
}

/// A guest that has made its timers and waits for them, for as short a time as this machine allows.
fn waiting(engine: &Engine, on_notify: impl Fn() -> Option<NotifyHandler>) -> (Component, Exec) {
    for milliseconds in [100, 1_000, 10_000] {
        let component = engine.load(&timers(milliseconds * 1_000_000));
        let mut run = Run::get("/").limits(many_handles);
        run.on_notify = on_notify();
        let mut exec = run.start(&component);
        if exec.settle() == AbPoll::Pending {
            return (component, exec);
        }
    }
    panic!("ten thousand timers took ten seconds");
}

/// Each timer takes two entries of the table.
fn many_handles(limits: &mut AbLimits) {
    limits.resource_handles = 2 * TIMERS + 100;
}

#[test]
fn a_guest_among_ten_thousand_timers_is_dropped_at_once() {
    let engine = Engine::new();
    let component = engine.load(&timers(3_600_000_000_000));
    let started = Instant::now();
    for _ in 0..5 {
        let mut exec = Run::get("/").limits(many_handles).start(&component);
        assert_eq!(exec.settle(), AbPoll::Pending);
        let record = in_time(|| exec.free());
        assert_eq!(record.notifications(), 0);
    }
    assert_eq!(engine.pool().live_component_instances, 0);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let echo = engine.load(&plain(ECHO));
    assert_eq!(Run::get("/").body(b"next").finish(&echo).body.as_deref(), Some(&b"next"[..]));
}

#[test]
fn ten_thousand_timers_that_end_at_once_notify_once() {
    let engine = Engine::new();
    let (_component, mut exec) = waiting(&engine, || None);
    exec.record.wait(0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(exec.record.notifications(), 1, "however many there are");
    exec.run();
    let ended = exec.ended();
    assert_eq!(ended.end, AbEnd::Ok, "{ended:?}");
    let ready = u32::from_le_bytes(ended.body.expect("a number")[..].try_into().expect("of four"));
    assert!((1..=TIMERS).contains(&ready), "{ready}");
}

#[test]
fn timers_that_end_while_their_guest_is_dropped_notify_nobody() {
    let engine = Engine::new();
    // Kept, so that a late callback finds what it looks at.
    let mut records: Vec<Box<Record>> = Vec::new();
    for round in 0..10_u64 {
        let (entered, notified) = channel();
        let (component, exec) = waiting(&engine, || {
            let entered = Mutex::new(entered.clone());
            Some(Box::new(move || {
                let _ = entered.lock().unwrap().send(());
                std::thread::sleep(Duration::from_millis(50));
            }))
        });
        // The other timers end now, one after the other.
        notified.recv().expect("the first has ended");
        std::thread::sleep(Duration::from_micros(round * 100));
        let record = in_time(|| exec.free());
        assert_eq!(record.notifications(), 1, "it is done with, now that the execution is gone");
        records.push(record);
        drop(component);
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(records.iter().all(|record| record.notifications() == 1));
    assert_eq!(engine.pool().live_component_instances, 0);
}

/// An execution whose request of `wasi:http` the host has got, and that call.
fn fetching(component: &Component) -> (Exec, usize) {
    let (sender, calls): (_, Receiver<usize>) = channel();
    let sender = Mutex::new(sender);
    let mut exec = Run::get("/")
        .body(b"1")
        .on_call(move |_, call| {
            sender.lock().unwrap().send(call as usize).expect("the test waits");
            0
        })
        .start(component);
    loop {
        let seen = exec.record.notifications();
        let polled = exec.poll();
        assert_ne!(polled, AbPoll::Ready);
        if let Ok(call) = calls.try_recv() {
            exec.settle();
            return (exec, call);
        }
        if polled == AbPoll::Pending {
            exec.record.wait(seen);
        }
    }
}

fn fetching_guest() -> Vec<u8> {
    repeating("(call $open) (call $send) (call $fill) (call $finish) (call $receive)", "")
}

fn refuse(call: usize) {
    unsafe { ab_call_err(call as *mut AbCall, HostError::Denied as u32) };
}

#[test]
fn a_request_that_is_under_way_is_abandoned_and_may_be_answered_later() {
    let engine = Engine::new();
    let component = engine.load(&fetching_guest());
    let (exec, call) = fetching(&component);
    let id = unsafe { ab_call_id(call as *const AbCall) };
    let record = in_time(|| exec.free());
    assert_eq!(*record.abandoned.lock().unwrap(), [id], "told before the end, so that it can stop");
    assert_eq!(engine.pool().live_component_instances, 0);
    refuse(call);
}

#[test]
fn a_body_that_is_never_finished_goes_with_its_guest() {
    let engine = Engine::new();
    let component =
        engine.load(&repeating("(call $open) (call $send) (call $fill) (call $receive)", ""));
    for _ in 0..20 {
        let mut exec = Run::get("/").body(b"1").start(&component);
        for _ in 0..5 {
            assert_eq!(exec.settle(), AbPoll::Pending);
            std::thread::sleep(Duration::from_millis(1));
        }
        let record = in_time(|| exec.free());
        assert!(record.ops().is_empty(), "there is no request yet");
    }
    assert_eq!(engine.pool().live_component_instances, 0);
}

#[test]
fn an_answer_from_another_thread_may_race_with_the_end() {
    let engine = Engine::new();
    let component = engine.load(&fetching_guest());
    let lent = Lent::default();
    let mut records = Vec::new();
    for round in 0..100_u64 {
        let (mut exec, call) = fetching(&component);
        let lent = lent.clone();
        let answerer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round % 10 * 20));
            match round % 3 {
                0 => refuse(call),
                1 => unsafe { ab_call_abort(call as *mut AbCall, "enough".into()) },
                _ => unsafe {
                    let body = lent.lend(vec![7; 1000]);
                    let response = AbHttpResponse {
                        status: 200,
                        headers: std::ptr::null(),
                        n_headers: 0,
                        body,
                    };
                    ab_call_ok_http(call as *mut AbCall, &response);
                },
            }
        });
        std::thread::sleep(Duration::from_micros(round % 7 * 30));
        if round % 2 == 0 {
            exec.poll();
        }
        records.push(in_time(|| exec.free()));
        answerer.join().expect("no panic");
    }
    // Those that were taken just before the end are let go of by the timer thread.
    in_time(move || {
        while lent.count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert!(records.iter().all(|record| record.abandoned.lock().unwrap().len() <= 1));
    assert_eq!(engine.pool().live_component_instances, 0);
}

#[test]
fn a_host_may_complete_a_call_while_it_is_told_that_nobody_waits() {
    let engine = Engine::new();
    let fields = r#"(import "alga:extension/config@1.0.0" "entries" (func $entries (param i32)))"#;
    let body = "(call $entries (i32.const 512)) unreachable";
    let component = engine.load(&guest(V1, &["alga:extension/config@1.0.0"], fields, body));
    let call = Arc::new(Mutex::new(None::<usize>));
    let (keep, take) = (call.clone(), call.clone());
    let mut run = Run::get("/").on_call(move |_, call| {
        *keep.lock().unwrap() = Some(call as usize);
        0
    });
    run.on_abandoned = Some(Box::new(move |_| {
        refuse(take.lock().unwrap().take().expect("once"));
    }));
    let mut exec = run.start(&component);
    assert_eq!(exec.settle(), AbPoll::Pending);
    let record = in_time(|| exec.free());
    assert_eq!(record.abandoned.lock().unwrap().len(), 1);
    assert_eq!(*call.lock().unwrap(), None, "completed");
    assert_eq!(record.notifications(), 0);
}

#[test]
fn an_execution_that_was_never_polled_may_be_dropped() {
    let engine = Engine::new();
    let component = engine.load(&plain(ECHO));
    let exec = Run::get("/").body(b"unread").start(&component);
    assert_eq!(exec.record.lent.count(), 1);
    let record = exec.free();
    assert_eq!(record.lent.count(), 0, "nobody needs its request any more");
    assert_eq!((record.notifications(), record.ops().len()), (0, 0));
    assert_eq!(engine.pool().live_component_instances, 0);
}
