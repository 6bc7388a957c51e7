;; what: proc_exit in _initialize ends the run
;; deploy: 201
;; expect: 200
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_initialize") (call $exit (i32.const 0)))
  (func (export "talea_handle") (result i32) unreachable))
