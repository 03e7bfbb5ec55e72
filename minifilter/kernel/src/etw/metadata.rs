//! What an event says about itself, made at compile time.

/// The type of a field.
#[derive(Clone, Copy)]
pub enum FieldType {
    /// Counted UTF-16; two descriptors.
    Text,
    /// Counted bytes of ASCII or UTF-8; two descriptors.
    Utf8,
    /// A number.
    U32,
    /// A number.
    U64,
    /// A status, shown as such.
    Status,
    /// A process id.
    ProcessId,
}

impl FieldType {
    /// The type code and, if it has one, the format code.
    const fn codes(self) -> (u8, Option<u8>) {
        match self {
            FieldType::Text => (22, None),
            FieldType::Utf8 => (23, Some(35)),
            FieldType::U32 => (8, None),
            FieldType::U64 => (10, None),
            FieldType::Status => (20, Some(14)),
            FieldType::ProcessId => (8, Some(5)),
        }
    }
}

/// The description of an event, or of the provider: its bytes.
pub struct Metadata<const N: usize>([u8; N]);

/// The size of an event's description.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs at compile time, where an overflow is an error of the build"
)]
pub const fn event_size(name: &str, fields: &[(&str, FieldType)]) -> usize {
    // Size, tags, name and its end.
    let mut size = 2 + 1 + name.len() + 1;
    let mut index = 0;
    while index < fields.len() {
        let (name, kind) = fields[index];
        size += name.len() + 1 + 1 + if kind.codes().1.is_some() { 1 } else { 0 };
        index += 1;
    }
    size
}

/// The size of the provider's description.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs at compile time, where an overflow is an error of the build"
)]
pub const fn provider_size(name: &str) -> usize {
    2 + name.len() + 1
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs at compile time, where an overflow is an error of the build"
)]
impl<const N: usize> Metadata<N> {
    /// Describes an event. Compile time only.
    pub const fn event(name: &str, fields: &[(&str, FieldType)]) -> Self {
        let mut bytes = Self::sized();
        let mut at = Self::text(&mut bytes, 3, name);
        let mut index = 0;
        while index < fields.len() {
            let (name, kind) = fields[index];
            at = Self::text(&mut bytes, at, name);
            match kind.codes() {
                (code, None) => bytes[at] = code,
                (code, Some(format)) => {
                    // The top bit announces a format code.
                    bytes[at] = code | 0x80;
                    at += 1;
                    bytes[at] = format;
                }
            }
            at += 1;
            index += 1;
        }
        assert!(at == N);
        Metadata(bytes)
    }

    /// Describes the provider. Compile time only.
    pub const fn provider(name: &str) -> Self {
        let mut bytes = Self::sized();
        assert!(Self::text(&mut bytes, 2, name) == N);
        Metadata(bytes)
    }

    const fn sized() -> [u8; N] {
        let mut bytes = [0; N];
        assert!(N <= 0xFFFF);
        bytes[0] = (N & 0xFF) as u8;
        bytes[1] = (N >> 8) as u8;
        bytes
    }

    /// A text and the zero after it.
    const fn text(bytes: &mut [u8; N], mut at: usize, text: &str) -> usize {
        let mut index = 0;
        while index < text.len() {
            bytes[at] = text.as_bytes()[index];
            at += 1;
            index += 1;
        }
        at + 1
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_is_its_size_its_tags_its_name_and_its_fields() {
        let bytes = crate::event!("Ab", "C": Text, "D": U64, "E": Status);
        let mut expected = vec![bytes.len() as u8, 0, 0];
        expected.extend(b"Ab\0");
        expected.extend(b"C\0\x16");
        expected.extend(b"D\0\x0A");
        expected.extend(b"E\0\x94\x0E");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_provider_is_its_size_and_its_name() {
        assert_eq!(crate::provider!("Intact"), b"\x09\x00Intact\0");
    }
}
