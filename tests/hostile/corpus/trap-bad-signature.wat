;; what: indirect_call_type_mismatch is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap indirect_call_type_mismatch
(module (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $f)
  (type $t (func))
  (func $f (param i32))
  (func (export "_start") (call_indirect (type $t) (i32.const 0))))
