;; what: proc_exit(0) is ok
;; deploy: 201
;; expect: 200
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const 0)) unreachable))
