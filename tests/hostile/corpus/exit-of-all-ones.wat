;; what: any u32 is an exit code
;; deploy: 201
;; expect: 500 guest_exit
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const -1)) unreachable))
