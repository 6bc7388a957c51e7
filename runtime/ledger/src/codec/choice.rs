//! `choice!`: one table from which an enum, its encoder, decoder and greatest length are made.
//!
//! Format: a value that is one of several is a map with exactly one key, which says which.

/// Declares an enum that is a map of one key.
///
/// ```text
/// choice! {
///     /// What it is.
///     #[derive(Debug, Clone, PartialEq, Eq)]
///     pub enum Lock {
///         /// A channel.
///         "channel" => Channel(ChannelId),
///     }
/// }
/// ```
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$case_meta:meta])* $key:literal => $case:ident($ty:ty) ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $( $(#[$case_meta])* $case($ty) ),+
        }

        const _: () = {
            $( assert!(
                !$key.is_empty() && $key.len() < 24 && $key.is_ascii(),
                "a key is short ASCII, so that its head is one byte"
            ); )+
        };

        impl $name {
            /// The stable text of the case.
            pub const fn kind(&self) -> &'static str {
                match self { $( Self::$case(_) => $key ),+ }
            }
        }

        impl $crate::codec::Field for $name {
            const LEN_MAX: usize = {
                let mut max = 0;
                $(
                    let len = $crate::codec::key_len($key)
                        .saturating_add(1)
                        .saturating_add(<$ty as $crate::codec::Field>::LEN_MAX);
                    if len > max { max = len; }
                )+
                max
            };

            fn put(&self, out: &mut $crate::codec::Encoder) {
                out.map(1);
                out.text(self.kind());
                match self { $( Self::$case(value) => $crate::codec::Field::put(value, out) ),+ }
            }

            fn take(
                input: &mut $crate::codec::Decoder<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let offset = input.offset();
                let mut map = input.map(1)?;
                let key = map.key(input, 23)?;
                let value = match key {
                    $( Some($key) => Self::$case(<$ty as $crate::codec::Field>::take(input)?), )+
                    _ => {
                        return Err($crate::codec::DecodeError::new(
                            offset,
                            $crate::codec::DecodeReason::Value("one of the keys that may stand here"),
                        ));
                    }
                };
                map.end(input)?;
                Ok(value)
            }
        }
    };
}
pub(crate) use choice;
