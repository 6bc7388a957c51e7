;; what: a list of buffers that leaves memory is an errno
;; deploy: 201
;; expect: 200
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.eqz (call $write (i32.const 1) (i32.const 65530) (i32.const 1) (i32.const 0))) (then (unreachable)))
    (if (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0))) (then (unreachable)))
    (i32.store (i32.const 0) (i32.const 65535))
    (i32.store (i32.const 4) (i32.const -1))
    (if (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (then (unreachable)))
    (if (i32.eqz (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))) (then (unreachable)))))
