(module
  (memory 1)
  (func (export "talea_handle") (result i32) (local v128)
    (local.set 0 (i32x4.mul (v128.const i32x4 1 2 3 4) (i32x4.splat (i32.const 5))))
    (v128.store (i32.const 32) (i16x8.shl (local.get 0) (i32.const 1)))
    (v128.store64_lane 1 (i32.const 64) (f32x4.div (local.get 0) (f32x4.sqrt (local.get 0))))
    (i32.add (i32x4.extract_lane 3 (i64x2.mul (local.get 0) (v128.load (i32.const 32))))
      (i8x16.bitmask (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
        (local.get 0) (v128.not (v128.load (i32.const 64))))))))
