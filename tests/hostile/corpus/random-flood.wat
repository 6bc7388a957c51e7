;; what: random bytes cost fuel, so a flood of them ends
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $again (drop (call $random (i32.const 0) (i32.const 65536))) (br $again))))
