;; what: a module without memory runs
;; deploy: 201
;; expect: 200
(module (func (export "_start")))
