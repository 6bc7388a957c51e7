;; what: nested empty blocks inside a loop are not free
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module (memory (export "memory") 1)
  (func (export "_start")
    (loop $again (block (block (block))) (br_if $again (i32.const 1)))))
