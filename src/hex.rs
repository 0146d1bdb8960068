//! Bytes as hexadecimal digits.

/// The two digits of each byte, in lower case.
static DIGITS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut texts = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        texts[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    texts
};

/// The digits of these bytes, in their order.
pub(crate) fn digits<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    bytes.map(|byte| DIGITS[usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_two_digits() {
        for byte in 0..=u8::MAX {
            assert_eq!(digits([byte]).as_flattened(), format!("{byte:02x}").as_bytes());
        }
        assert_eq!(digits([0x01, 0xfe]).as_flattened(), b"01fe");
    }
}
