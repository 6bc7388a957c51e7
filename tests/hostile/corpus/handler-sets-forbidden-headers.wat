;; what: a guest cannot set talea-, length, cookie or hop-by-hop headers
;; deploy: 201
;; expect: 200
(module
  (import "talea" "output_header" (func $header (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "talea-fuel")
  (data (i32.const 32) "content-length")
  (data (i32.const 64) "set-cookie")
  (data (i32.const 96) "connection")
  (data (i32.const 128) "1\0d\0ax: y")
  (data (i32.const 160) "x-mine")
  (func (export "talea_handle") (result i32)
    (drop (call $header (i32.const 0) (i32.const 10) (i32.const 128) (i32.const 1)))
    (drop (call $header (i32.const 32) (i32.const 14) (i32.const 128) (i32.const 1)))
    (drop (call $header (i32.const 64) (i32.const 10) (i32.const 128) (i32.const 1)))
    (drop (call $header (i32.const 96) (i32.const 10) (i32.const 128) (i32.const 1)))
    (drop (call $header (i32.const 160) (i32.const 6) (i32.const 128) (i32.const 7)))
    (drop (call $header (i32.const 0) (i32.const -1) (i32.const 128) (i32.const -1)))
    (i32.const 0)))
