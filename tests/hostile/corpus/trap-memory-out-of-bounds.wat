;; what: memory_out_of_bounds is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap memory_out_of_bounds
(module (memory (export "memory") 1)
  (func (export "_start") (drop (i32.load (i32.const -4)))))
