;; what: a handler's non-zero result is its exit code
;; deploy: 201
;; expect: 500 guest_exit
(module (memory (export "memory") 1)
  (func (export "talea_handle") (result i32) (i32.const 42)))
