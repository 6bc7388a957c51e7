;; what: a busy wait on the clock ends, since each reading advances it
;; deploy: 201
;; expect: 200
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $end i64)
    (drop (call $now (i32.const 1) (i64.const 0) (i32.const 0)))
    (local.set $end (i64.add (i64.load (i32.const 0)) (i64.const 100000)))
    (loop $again
      (drop (call $now (i32.const 1) (i64.const 0) (i32.const 0)))
      (br_if $again (i64.lt_u (i64.load (i32.const 0)) (local.get $end))))))
