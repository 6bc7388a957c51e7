;; what: a start section that never ends is metered like any other code
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module (memory (export "memory") 1)
  (func $spin (loop $again (br $again)))
  (start $spin)
  (func (export "_start")))
