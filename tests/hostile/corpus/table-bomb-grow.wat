;; what: table.grow above the limit returns -1
;; deploy: 201
;; expect: 200
(module (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "_start")
    (if (i32.ne (table.grow (ref.null func) (i32.const 1000000)) (i32.const -1)) (then (unreachable)))))
