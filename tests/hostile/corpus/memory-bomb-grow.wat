;; what: growth above the limit returns -1 and the guest goes on
;; deploy: 201
;; expect: 200
(module (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.ne (memory.grow (i32.const 4096)) (i32.const -1)) (then (unreachable)))
    (if (i32.ne (memory.grow (i32.const 1024)) (i32.const 1)) (then (unreachable)))))
