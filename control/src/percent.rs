//! Percent-encoding (RFC 3986 §2.1).

/// `text` as a part of a path: everything but letters, digits and a few marks encoded.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_fits_into_a_path() {
        assert_eq!(encode("a-1.b@10.0.0.1"), "a-1.b%4010.0.0.1");
        assert_eq!(encode("a/b?c#d%e é"), "a%2Fb%3Fc%23d%25e%20%C3%A9");
    }
}
