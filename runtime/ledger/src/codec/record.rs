//! `record!`: one table from which a map's struct, encoder, decoder and greatest length are made.

/// Declares a struct that is a map. Keys stand in canonical order; a field of type `Option` may be absent.
///
/// ```text
/// record! {
///     /// What it is.
///     #[derive(Debug, Clone, PartialEq, Eq)]
///     pub struct Price {
///         /// Per KiB.
///         "kib" => pub per_kib: Tal,
///     }
/// }
/// ```
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $key:literal => $field_vis:vis $field:ident : $ty:ty ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $( $(#[$field_meta])* $field_vis $field: $ty ),+
        }

        const _: () = assert!(
            $crate::codec::keys_are_canonical(&[$($key),+]),
            "keys of a record are short ASCII, sorted by length and then bytewise, each once"
        );

        impl $crate::codec::Field for $name {
            // A head of one byte (fewer than 24 keys), then each key and the longest form of its value.
            const LEN_MAX: usize =
                1 $( + $crate::codec::key_len($key) + <$ty as $crate::codec::Field>::LEN_MAX )+;

            #[inline]
            fn put(&self, out: &mut $crate::codec::Encoder) {
                let mut count = 0_u64;
                $( count = count.saturating_add(u64::from(!$crate::codec::Field::is_absent(&self.$field))); )+
                out.map(count);
                $(
                    if !$crate::codec::Field::is_absent(&self.$field) {
                        out.text($key);
                        $crate::codec::Field::put(&self.$field, out);
                    }
                )+
            }

            #[inline]
            fn take(
                input: &mut $crate::codec::Decoder<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                const KEYS: &[&str] = &[$($key),+];
                let mut map = input.map(KEYS.len())?;
                $( let $field = map.field::<$ty>(input, $key)?; )+
                map.end(input)?;
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(crate) use record;

/// Encoded length of a key: its head and its bytes.
pub const fn key_len(key: &str) -> usize {
    key.len().saturating_add(1)
}

/// Whether keys can be the keys of a record: fewer than 24, each of 1 to 23 ASCII bytes (so that every head is
/// one byte), strictly ascending by length and then bytewise.
pub const fn keys_are_canonical(keys: &[&str]) -> bool {
    if keys.len() >= 24 {
        return false;
    }
    let mut at = 0;
    while at < keys.len() {
        let key = keys[at].as_bytes();
        if key.is_empty() || key.len() >= 24 || !keys[at].is_ascii() {
            return false;
        }
        if at > 0 && !is_before(keys[at.saturating_sub(1)].as_bytes(), key) {
            return false;
        }
        at = at.saturating_add(1);
    }
    true
}

/// The canonical order of keys: shorter first, then bytewise.
pub(super) const fn is_before(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return left.len() < right.len();
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return left[at] < right[at];
        }
        at = at.saturating_add(1);
    }
    false
}
