;; A core module of the first ABI. tests/e2e/sdk_migration_test.py fills in three places: what the
;; handler does (BODY), and text at 64 (ANSWER) and at 512 (FETCH).
(module
  (import "alga" "log_info" (func $log_info (param i32 i32)))
  (import "alga" "log_error" (func $log_error (param i32 i32)))
  (import "alga" "http.fetch" (func $fetch (param i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 4096))
  (data (i32.const 16) "a legacy line")
  (data (i32.const 64) "@ANSWER@")
  (data (i32.const 512) "@FETCH@")

  (func (export "alloc") (param $size i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func (export "dealloc") (param i32 i32))

  ;; Points the caller at an answer.
  (func $answer (param $out i32) (param $at i32) (param $length i32)
    (i32.store (local.get $out) (local.get $at))
    (i32.store offset=4 (local.get $out) (local.get $length)))

  (func (export "handler") (param $request i32) (param $length i32) (param $out i32) (result i32)
    (call $log_info (i32.const 16) (i32.const 13))
    @BODY@))
