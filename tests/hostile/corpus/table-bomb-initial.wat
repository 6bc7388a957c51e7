;; what: an initial table above the limit is refused or limited, never allocated
;; deploy: 201|422
;; expect: 500 limit_memory
(module (memory (export "memory") 1)
  (table 10000000 funcref)
  (func (export "_start")))
