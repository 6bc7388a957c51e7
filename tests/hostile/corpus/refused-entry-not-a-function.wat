;; what: a memory called _start is no entry point
;; deploy: 422
(module (memory (export "_start") 1))
