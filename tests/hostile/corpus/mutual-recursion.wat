;; what: two functions that call each other for ever stop at the depth limit
;; deploy: 201
;; expect: 500 limit_stack
(module (memory (export "memory") 1)
  (func $a (call $b))
  (func $b (call $a))
  (func (export "_start") (call $a)))
