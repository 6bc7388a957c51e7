;; what: a second memory is refused
;; deploy: 422
(module (memory (export "memory") 1) (memory 1)
  (func (export "_start")))
