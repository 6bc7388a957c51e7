;; what: a module with both entry points is refused
;; deploy: 422
(module (memory (export "memory") 1)
  (func (export "_start"))
  (func (export "talea_handle") (result i32) (i32.const 0)))
