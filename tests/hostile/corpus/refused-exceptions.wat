;; what: exceptions are not in this profile
;; deploy: 422
(module (memory (export "memory") 1)
  (tag $t)
  (func (export "_start") (throw $t)))
