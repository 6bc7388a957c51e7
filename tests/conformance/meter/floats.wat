(module
  (func (export "talea_handle") (result i32) (local f64 i32)
    (local.set 0 (f64.const 2))
    (loop
      (local.set 0 (f64.div (f64.add (local.get 0) (f64.div (f64.const 2) (local.get 0))) (f64.const 2)))
      (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 6))))
    (i32.trunc_sat_f32_u (f32.demote_f64 (f64.mul (f64.sqrt (local.get 0)) (f64.const 1000))))))
