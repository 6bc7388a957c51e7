;; what: proc_exit in the start section ends the run
;; deploy: 201
;; expect: 500 guest_exit
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $s (call $exit (i32.const 3)))
  (start $s)
  (func (export "_start") unreachable))
