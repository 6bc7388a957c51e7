(module
  (func (export "talea_handle") (result i32) (local i32 i32)
    (block $out
      (loop $again
        (block $odd
          (block $even
            (br_table $even $odd (i32.and (local.get 0) (i32.const 1))))
          (local.set 1 (i32.add (local.get 1) (i32.const 3)))
          (br_if $out (i32.gt_u (local.get 1) (i32.const 100))))
        (if (i32.eq (local.get 0) (i32.const 50))
          (then (return (local.get 1)))
          (else (local.set 1 (i32.sub (local.get 1) (i32.const 1)))))
        (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br $again)))
    (i32.add (local.get 1) (i32.const 1000))))
