;; what: work before a divide by zero is billed to the last step
;; deploy: 201
;; expect: 500 guest_trap integer_divide_by_zero
;; fuel: above 10000000
(module (memory (export "memory") 1)
  (func (export "_start")
    (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 10000000))))
    (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))))
