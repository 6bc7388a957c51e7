;; what: a function that calls itself for ever stops at the depth limit
;; deploy: 201
;; expect: 500 limit_stack
(module (memory (export "memory") 1)
  (func $down (param i32) (result i32)
    (i32.add (i32.const 1) (call $down (i32.add (local.get 0) (i32.const 1)))))
  (func (export "_start") (drop (call $down (i32.const 0)))))
