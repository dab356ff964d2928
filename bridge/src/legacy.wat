;; Stands between a legacy core module and the component model. It moves bytes only: what is in them
;; (JSON) is read and written by the host. Nothing is freed, because an instance serves one request.
(module
  (import "env" "memory" (memory 0))
  (import "__main_module__" "alloc" (func $alloc (param i32) (result i32)))
  (import "__main_module__" "handler" (func $handler (param i32 i32 i32) (result i32)))
  (import "alga:legacy/host@1.0.0" "log-info" (func $log_info (param i32 i32)))
  (import "alga:legacy/host@1.0.0" "log-error" (func $log_error (param i32 i32)))
  (import "alga:legacy/host@1.0.0" "fetch" (func $fetch (param i32 i32 i32)))

  ;; `alloc` promises no alignment.
  (func $area (param $size i32) (result i32)
    (i32.and
      (i32.add (call $alloc (i32.add (local.get $size) (i32.const 7))) (i32.const 7))
      (i32.const -8)))

  (func (export "cabi_import_realloc")
    (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (call $area (local.get $len)))
  (func (export "cabi_export_realloc")
    (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (call $area (local.get $len)))

  ;; What the module imports from `alga`.
  (func (export "log_info") (param $text i32) (param $len i32)
    (call $log_info (local.get $text) (local.get $len)))
  (func (export "log_error") (param $text i32) (param $len i32)
    (call $log_error (local.get $text) (local.get $len)))
  (func (export "http.fetch") (param $request i32) (param $len i32) (param $out i32) (result i32)
    (local $result i32)
    (local.set $result (call $area (i32.const 12)))
    (call $fetch (local.get $request) (local.get $len) (local.get $result))
    (if (i32.load8_u (local.get $result))
      (then (return (i32.load offset=4 (local.get $result)))))
    (i32.store (local.get $out) (i32.load offset=4 (local.get $result)))
    (i32.store offset=4 (local.get $out) (i32.load offset=8 (local.get $result)))
    (i32.const 0))

  ;; result<list<u8>, s32> at 8; the handler writes address and length at 0.
  (func (export "alga:legacy/guest@1.0.0#invoke") (param $request i32) (param $len i32) (result i32)
    (local $area i32)
    (local $code i32)
    (local.set $area (call $area (i32.const 24)))
    (local.set $code
      (call $handler (local.get $request) (local.get $len) (local.get $area)))
    (if (local.get $code)
      (then
        (i32.store offset=8 (local.get $area) (i32.const 1))
        (i32.store offset=12 (local.get $area) (local.get $code)))
      (else
        (i32.store offset=8 (local.get $area) (i32.const 0))
        (i32.store offset=12 (local.get $area) (i32.load (local.get $area)))
        (i32.store offset=16 (local.get $area) (i32.load offset=4 (local.get $area)))))
    (i32.add (local.get $area) (i32.const 8))))
