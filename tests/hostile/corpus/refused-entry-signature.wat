;; what: an entry point of another type is refused
;; deploy: 422
(module (memory (export "memory") 1)
  (func (export "_start") (param i32)))
