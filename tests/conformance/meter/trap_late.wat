(module
  (func (export "talea_handle") (result i32) (local i32)
    (loop
      (local.set 0 (i32.add (local.get 0) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get 0) (i32.const 100000))))
    (i32.rem_s (local.get 0) (i32.sub (local.get 0) (i32.const 100000)))))
