;; what: indirect_call_to_null is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap indirect_call_to_null
(module (memory (export "memory") 1)
  (table 1 funcref)
  (type $t (func))
  (func (export "_start") (call_indirect (type $t) (i32.const 0))))
