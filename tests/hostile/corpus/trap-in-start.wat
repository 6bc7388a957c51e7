;; what: a trap in the start section is billed
;; deploy: 201
;; expect: 500 guest_trap unreachable
(module (memory (export "memory") 1)
  (func $s unreachable)
  (start $s)
  (func (export "_start")))
