;; what: a guest cannot export the counter's name
;; deploy: 422
(module (memory (export "memory") 1)
  (global (export "talea:fuel") (mut i64) (i64.const 9223372036854775807))
  (func (export "_start")))
