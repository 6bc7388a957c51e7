;; what: an initial memory above the limit is an outcome with the static charge
;; deploy: 201
;; expect: 500 limit_memory
(module (memory (export "memory") 5000)
  (func (export "_start")))
