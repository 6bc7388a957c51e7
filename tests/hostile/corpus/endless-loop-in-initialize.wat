;; what: _initialize runs metered before the handler
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module (memory (export "memory") 1)
  (func (export "_initialize") (loop $again (br $again)))
  (func (export "talea_handle") (result i32) (i32.const 0)))
