;; what: a data segment that does not fit traps with the static charge
;; deploy: 201
;; expect: 500 guest_trap memory_out_of_bounds
(module (memory (export "memory") 1)
  (data (i32.const 65536) "x")
  (func (export "_start")))
