;; what: a memory from outside is refused
;; deploy: 422
(module (import "env" "memory" (memory 1))
  (func (export "_start")))
