;; what: a shared memory is refused
;; deploy: 422
(module (memory (export "memory") 1 1 shared)
  (func (export "_start")))
