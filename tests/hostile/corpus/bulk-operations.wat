;; what: a fill of all memory in a loop is charged by its size
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module (memory (export "memory") 64)
  (func (export "_start")
    (loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 4194304)) (br $again))))
