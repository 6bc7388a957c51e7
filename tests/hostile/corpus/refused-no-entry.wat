;; what: a module without an entry point is not a function
;; deploy: 422
(module (memory (export "memory") 1)
  (func (export "main")))
