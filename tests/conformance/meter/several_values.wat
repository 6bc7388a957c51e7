(module
  (func $divide (param i32 i32) (result i32 i32)
    (i32.div_u (local.get 0) (local.get 1)) (i32.rem_u (local.get 0) (local.get 1)))
  (func (export "talea_handle") (result i32)
    (call $divide (i32.const 1000) (i32.const 7))
    (loop (param i32 i32) (result i32)
      i32.sub
      (br_if 1 (i32.const 0))
      (i32.const 1) (block (param i32 i32) (result i32) i32.add))))
