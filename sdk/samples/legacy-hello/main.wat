;; A handler in the reference's first ABI: JSON in, JSON out, memory by hand. It logs one line and
;; answers every request with the same JSON.
(module
  (import "alga" "log_info" (func $log_info (param i32 i32)))
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 1024))

  (data (i32.const 16) "hello from a legacy module")
  ;; {"hello":"world","from":"WAT"} in base64.
  (data (i32.const 64)
    "{\"status\":200,\"headers\":{\"content-type\":\"application/json\"},"
    "\"body_b64\":\"eyJoZWxsbyI6IndvcmxkIiwiZnJvbSI6IldBVCJ9\"}")

  ;; Hands out memory from the end of what was handed out before, growing it when needed.
  (func (export "alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (global.get $next) (local.get $size)))
    (block $fits
      (loop $more
        (br_if $fits
          (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
        unreachable))
    (local.get $at))

  ;; Writes address and length of the answer to $out; 0 is success.
  (func (export "handler") (param $request i32) (param $length i32) (param $out i32) (result i32)
    (call $log_info (i32.const 16) (i32.const 26))
    (i32.store (local.get $out) (i32.const 64))
    (i32.store offset=4 (local.get $out) (i32.const 114))
    (i32.const 0)))
