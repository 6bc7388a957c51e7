;; what: pointers outside memory are error codes for every call
;; deploy: 201
;; expect: 200
(module
  (import "talea" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "talea" "input_len" (func $len (param i32) (result i32)))
  (import "talea" "output_write" (func $write (param i32 i32) (result i32)))
  (import "talea" "log" (func $log (param i32 i32 i32) (result i32)))
  (import "talea" "random" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "talea_handle") (result i32)
    (if (i32.ge_s (call $write (i32.const -1) (i32.const 16)) (i32.const 0)) (then (unreachable)))
    (if (i32.ge_s (call $log (i32.const 2) (i32.const 65536) (i32.const 1)) (i32.const 0)) (then (unreachable)))
    (if (i32.ge_s (call $random (i32.const 65535) (i32.const 2)) (i32.const 0)) (then (unreachable)))
    (if (i32.ge_s (call $len (i32.const 99)) (i32.const 0)) (then (unreachable)))
    (if (i32.ge_s (call $read (i32.const 1) (i32.const -8) (i32.const 0) (i32.const 64)) (i32.const 0)) (then (unreachable)))
    (i32.const 0)))
