;; what: a name that preview 1 does not have is refused
;; deploy: 422
(module (import "wasi_snapshot_preview1" "sock_open_everything" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")))
