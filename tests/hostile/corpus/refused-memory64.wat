;; what: a 64-bit memory is refused
;; deploy: 422
(module (memory (export "memory") i64 1)
  (func (export "_start")))
