;; what: proc_exit called through a table is the same exit
;; deploy: 201
;; expect: 500 guest_exit
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (type $t (func (param i32)))
  (table 1 funcref)
  (elem (i32.const 0) $exit)
  (func (export "_start") (call_indirect (type $t) (i32.const 9) (i32.const 0))))
