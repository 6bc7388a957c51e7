(module
  (func $heavy (param i64 i64 i64) (result i64)
    (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (i64.mul (i64.add (call $heavy (local.get 1) (local.get 2) (local.get 0)) (i64.div_u (local.get 0) (i64.const 3)))
      (i64.xor (i64.rotl (local.get 1) (i64.const 3)) (i64.and (local.get 2) (i64.sub (local.get 0) (local.get 1))))))
  (func (export "talea_handle") (result i32)
    (i32.wrap_i64 (call $heavy (i64.const 1) (i64.const 2) (i64.const 3)))))
