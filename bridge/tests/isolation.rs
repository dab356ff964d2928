//! Many executions: nothing leaks and nothing is left behind for the next one. One test per process
//! would be needed to count executions exactly, hence a file of its own that runs them in turn.

mod host;

use alga_bridge::abi::*;
use alga_bridge::exec::ab_live_executions;
use host::guests::{ECHO, V1, guest, plain};
use host::{Engine, Run};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn nothing_leaks_and_nothing_is_left_behind() {
    ten_thousand_executions_leak_nothing();
    memory_left_by_one_execution_is_not_seen_by_the_next();
    tables_left_by_one_execution_are_not_seen_by_the_next();
}

fn ten_thousand_executions_leak_nothing() {
    let engine = Engine::new();
    let echo = engine.load(&plain(ECHO));
    let crash = engine.load(&plain("unreachable"));
    let turn = |i: u32| {
        let ended = match i % 4 {
            0 => Run::get("/").finish(&crash),
            _ => Run::get("/").body(&[7; 1000]).finish(&echo),
        };
        assert_eq!(ended.end, if i.is_multiple_of(4) { AbEnd::GuestTrap } else { AbEnd::Ok });
    };
    (0..1000).for_each(turn);
    let before = resident_kib();
    (0..10_000).for_each(turn);
    let grown = resident_kib().saturating_sub(before);
    assert_eq!(ab_live_executions(), 0);
    let pool = engine.pool();
    let live = [
        pool.live_component_instances,
        pool.live_core_instances,
        pool.live_memories,
        pool.live_tables,
        pool.live_stacks,
    ];
    assert_eq!(live, [0; 5], "{pool:?}");
    assert!(grown < 2048, "{grown} KiB more after 10,000 executions");
}

/// A guest that fills two pages and whatever it can grow to with a mark, and then ends as `ending` says.
fn plant(ending: &str) -> Vec<u8> {
    plain(&format!(
        "(local $i i32)
        (drop (memory.grow (i32.const 30)))
        (local.set $i (i32.const 4096))
        (loop $l (i32.store (local.get $i) (i32.const 0x59524e43))
            (local.set $i (i32.add (local.get $i) (i32.const 4)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 2097152))))
        {ending}"
    ))
}

fn memory_left_by_one_execution_is_not_seen_by_the_next() {
    let mut config = host::default_config();
    // The next one gets the very same slot.
    (config.max_executions, config.memories_per_component, config.decommit_batch) = (1, 1, 1);
    for keep_resident in [0, 1 << 20, 16 << 20] {
        config.memory_keep_resident = keep_resident;
        let engine = Engine::with(&config);
        let answers =
            engine.load(&plant("(call $answer (i32.const 200) (i32.const 0) (i32.const 0))"));
        let traps = engine.load(&plant("unreachable"));
        let grows = engine.load(&plant("(drop (memory.grow (i32.const 100))) unreachable"));
        let loops = engine.load(&plant("(loop $e (br $e)) unreachable"));
        // Another component of the same shape: answers 200 when all it sees is zero.
        let look = engine.load(&plain(
            "(local $i i32)
            (drop (memory.grow (i32.const 30)))
            (local.set $i (i32.const 4096))
            (loop $l (if (i32.eq (i32.load (local.get $i)) (i32.const 0x59524e43)) (then (return (call $answer (i32.const 500) (i32.const 0) (i32.const 0)))))
                (local.set $i (i32.add (local.get $i) (i32.const 4)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 2097152))))
            (call $answer (i32.const 200) (i32.const 0) (i32.const 0))",
        ));
        let clean = |after: &str| {
            assert_eq!(Run::get("/").finish(&look).status, 200, "a mark was left by {after}");
        };
        for _ in 0..20 {
            assert_eq!(Run::get("/").finish(&answers).status, 200);
            clean("one that answered");
            assert_eq!(Run::get("/").finish(&traps).end, AbEnd::GuestTrap);
            clean("one that trapped");
            let tight = |limits: &mut AbLimits| limits.memory_bytes = 4 << 20;
            assert_eq!(Run::get("/").limits(tight).finish(&grows).end, AbEnd::MemoryLimit);
            clean("one that wanted more memory than it may have");
            // As a time-out and a client that leaves end it: in the middle.
            let mut run = Run::get("/");
            run.max_yields = Some(2);
            let mut exec = run.start(&loops);
            exec.run();
            exec.free();
            clean("one that was stopped");
        }
    }
}

fn tables_left_by_one_execution_are_not_seen_by_the_next() {
    let mut config = host::default_config();
    (config.max_executions, config.tables_per_component, config.decommit_batch) = (1, 1, 1);
    let engine = Engine::with(&config);
    let table = "(table $t 100 funcref)";
    let fill = guest(
        V1,
        &[],
        table,
        "(table.fill $t (i32.const 0) (ref.func $answer) (i32.const 100)) (call $answer (i32.const 200) (i32.const 0) (i32.const 0))) (elem declare func $answer",
    );
    let check = guest(
        V1,
        &[],
        table,
        "(call $answer (select (i32.const 200) (i32.const 500) (ref.is_null (table.get $t (i32.const 50)))) (i32.const 0) (i32.const 0))",
    );
    let (fill, check) = (engine.load(&fill), engine.load(&check));
    for _ in 0..20 {
        assert_eq!(Run::get("/").finish(&fill).status, 200);
        assert_eq!(Run::get("/").finish(&check).status, 200);
    }
}
