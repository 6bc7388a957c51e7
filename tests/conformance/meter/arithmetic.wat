(module
  (func (export "talea_handle") (result i32) (local i32 i64)
    (local.set 0 (i32.div_u (i32.mul (i32.const 7) (i32.const 6)) (i32.const 2)))
    (local.set 1 (i64.rem_s (i64.extend_i32_u (local.get 0)) (i64.const 5)))
    (local.set 0 (i32.rotl (i32.popcnt (local.get 0)) (i32.wrap_i64 (local.get 1))))
    (select (i32.clz (local.get 0)) (i32.extend8_s (local.get 0)) (i64.eqz (local.get 1)))))
