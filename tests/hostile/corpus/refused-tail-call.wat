;; what: tail calls are not in this profile
;; deploy: 422
(module (memory (export "memory") 1)
  (func $f (return_call $f))
  (func (export "_start") (call $f)))
