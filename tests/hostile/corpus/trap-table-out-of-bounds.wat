;; what: table_out_of_bounds is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap table_out_of_bounds
(module (memory (export "memory") 1)
  (table 1 funcref)
  (type $t (func))
  (func (export "_start") (call_indirect (type $t) (i32.const 7))))
