;; what: relaxed SIMD is not deterministic and is refused
;; deploy: 422
(module (memory (export "memory") 1)
  (func (export "_start")
    (drop (f32x4.relaxed_madd (v128.const i64x2 0 0) (v128.const i64x2 0 0) (v128.const i64x2 0 0)))))
