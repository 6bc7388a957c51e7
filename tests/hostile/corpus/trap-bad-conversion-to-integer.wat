;; what: invalid_conversion_to_integer is a billed outcome
;; deploy: 201
;; expect: 500 guest_trap invalid_conversion_to_integer
(module (memory (export "memory") 1)
  (func (export "_start") (drop (i32.trunc_f32_s (f32.const nan)))))
