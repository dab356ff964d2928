//! Text guests that use `wasi:http`, each step as many times as its request's body has bytes.

use super::guests::{V1, guest};

const IMPORTS: [&str; 4] = [
    "wasi:http/types@0.2.3",
    "wasi:http/outgoing-handler@0.2.3",
    "wasi:io/streams@0.2.3",
    "wasi:io/poll@0.2.3",
];

/// Functions of the interfaces above, and some that are made of them.
const FUNCTIONS: &str = r#"
    (import "wasi:http/types@0.2.3" "[constructor]fields" (func $fields (result i32)))
    (import "wasi:http/types@0.2.3" "[static]fields.from-list" (func $from-list (param i32 i32 i32)))
    (import "wasi:http/types@0.2.3" "[method]fields.set" (func $set (param i32 i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.2.3" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.2.3" "[method]fields.clone" (func $clone (param i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[constructor]outgoing-request" (func $new-request (param i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[method]outgoing-request.body" (func $request-body (param i32 i32)))
    (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-method" (func $set-method (param i32 i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-path-with-query" (func $set-path (param i32 i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[constructor]outgoing-response" (func $new-response (param i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[method]outgoing-response.body" (func $response-body (param i32 i32)))
    (import "wasi:http/types@0.2.3" "[method]outgoing-body.write" (func $body-write (param i32 i32)))
    (import "wasi:http/types@0.2.3" "[static]outgoing-body.finish" (func $body-finish (param i32 i32 i32 i32)))
    (import "wasi:http/types@0.2.3" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
    (import "wasi:http/types@0.2.3" "[resource-drop]outgoing-request" (func $drop-request (param i32)))
    (import "wasi:http/types@0.2.3" "[resource-drop]outgoing-body" (func $drop-body (param i32)))
    (import "wasi:http/types@0.2.3" "[resource-drop]future-incoming-response" (func $drop-future (param i32)))
    (import "wasi:http/outgoing-handler@0.2.3" "handle" (func $handle (param i32 i32 i32 i32)))
    (import "wasi:io/streams@0.2.3" "[method]output-stream.write-zeroes" (func $write-zeroes (param i32 i64 i32)))
    (import "wasi:io/streams@0.2.3" "[resource-drop]output-stream" (func $drop-stream (param i32)))
    (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.3" "[resource-drop]pollable" (func $drop-pollable (param i32)))
    (data (i32.const 256) "/a.test")

    (global $request (mut i32) (i32.const 0))
    (global $body (mut i32) (i32.const 0))
    (global $stream (mut i32) (i32.const 0))
    (global $future (mut i32) (i32.const 0))

    ;; The result at 512 must be a success; its value, aligned to four.
    (func $ok (result i32)
        (if (i32.load8_u (i32.const 512)) (then unreachable))
        (i32.load (i32.const 516)))
    ;; A request to https://a.test/ and the stream into its body.
    (func $open
        (global.set $request (call $new-request (call $fields)))
        (if (call $set-authority (global.get $request) (i32.const 1) (i32.const 257) (i32.const 6)) (then unreachable))
        (if (call $set-path (global.get $request) (i32.const 1) (i32.const 256) (i32.const 1)) (then unreachable))
        (call $request-body (global.get $request) (i32.const 512))
        (call $open-body))
    (func $open-body
        (global.set $body (call $ok))
        (call $body-write (global.get $body) (i32.const 512))
        (global.set $stream (call $ok)))
    ;; As much as Wasmtime takes before anybody reads: two pieces of a megabyte.
    (func $fill
        (call $write-zeroes (global.get $stream) (i64.const 1048576) (i32.const 512)) (drop (call $ok))
        (call $write-zeroes (global.get $stream) (i64.const 1048576) (i32.const 512)) (drop (call $ok)))
    (func $send
        (call $handle (global.get $request) (i32.const 0) (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then unreachable))
        (global.set $future (i32.load (i32.const 520))))
    (func $finish
        (call $drop-stream (global.get $stream))
        (call $body-finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then unreachable)))
    ;; Until the answer is there.
    (func $receive
        (local $pollable i32)
        (local.set $pollable (call $subscribe (global.get $future)))
        (call $block (local.get $pollable))
        (call $drop-pollable (local.get $pollable))
        (call $drop-future (global.get $future)))
    (func $drop-all
        (call $drop-stream (global.get $stream))
        (call $drop-body (global.get $body))
        (call $drop-request (global.get $request)))
"#;

/// At 131072.
const MEGABYTE_OF_A: &str = "(drop (memory.grow (i32.const 20)))
    (memory.fill (i32.const 131072) (i32.const 0x41) (i32.const 1048576))";

/// Runs `step` once for each byte of the body of its request, then `end`, and answers 200.
pub fn repeating(step: &str, end: &str) -> Vec<u8> {
    let body = format!(
        "(local $i i32)
        {MEGABYTE_OF_A}
        (loop $l
            (if (i32.lt_u (local.get $i) (i32.load offset=84 (local.get $request)))
                (then {step} (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l))))
        {end}
        (call $answer (i32.const 200) (i32.const 0) (i32.const 0))"
    );
    guest(V1, &IMPORTS, FUNCTIONS, &body)
}
