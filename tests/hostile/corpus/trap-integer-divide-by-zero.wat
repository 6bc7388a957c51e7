;; what: integer_divide_by_zero is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap integer_divide_by_zero
(module (memory (export "memory") 1)
  (func (export "_start") (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))))
