;; what: a length beyond memory is an errno, not an allocation
;; deploy: 201
;; expect: 200
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $random (i32.const 0) (i32.const -1))) (then (unreachable)))))
