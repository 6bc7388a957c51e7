;; what: a loop without end burns its fuel limit and not one unit more
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))
