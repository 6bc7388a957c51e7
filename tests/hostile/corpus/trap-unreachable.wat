;; what: unreachable is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap unreachable
(module (memory (export "memory") 1)
  (func (export "_start") (unreachable)))
