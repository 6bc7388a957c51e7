;; what: every page that was granted may be touched
;; deploy: 201
;; expect: 500 out_of_fuel
;; fuel: limit
(module (memory (export "memory") 1)
  (func (export "_start")
    (local $at i32)
    (drop (memory.grow (i32.const 256)))
    (loop $again
      (i32.store (local.get $at) (i32.const 1))
      (local.set $at (i32.rem_u (i32.add (local.get $at) (i32.const 4096)) (i32.const 65536)))
      (br $again))))
