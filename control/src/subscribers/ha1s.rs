//! HA1s as stores keep them: as hexadecimal digits.

use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::Hash;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

/// Sets the HA1 of an algorithm from its digits, in either case, with blanks around them where a column pads
/// with these. Nothing but blanks is none: that is what Kamailio's table has by default.
///
/// # Errors
/// It is something else. What it is is not said: it might be a password.
pub(super) fn set(ha1s: &mut Ha1s, algorithm: Algorithm, digits: &[u8]) -> Result<(), String> {
    let digits = digits.trim_ascii();
    if digits.is_empty() {
        return Ok(());
    }
    let Some(hash) = Hash::read(algorithm, digits) else {
        return Err(format!(
            "its {} HA1 is not {} hexadecimal digits",
            algorithm.name(),
            2 * algorithm.hash_len()
        ));
    };
    ha1s.set(algorithm, hash.bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(algorithm: Algorithm, digits: &str) -> Option<Vec<u8>> {
        let mut ha1s = Ha1s::default();
        set(&mut ha1s, algorithm, digits.as_bytes()).unwrap();
        ha1s.get(algorithm).map(|hash| hash.bytes().to_vec())
    }

    #[test]
    fn digits_of_either_case_are_read_and_blanks_are_none() {
        let digits = "939E7578ED9E3C518A452ACEE763BCE9";
        let ha1 = bytes(Algorithm::Md5, digits).unwrap();
        assert_eq!(ha1[..3], [0x93, 0x9e, 0x75]);
        let padded = format!("{}  ", digits.to_lowercase());
        assert_eq!(bytes(Algorithm::Md5, &padded), Some(ha1));
        assert_eq!(bytes(Algorithm::Md5, ""), None);
        assert_eq!(bytes(Algorithm::Sha256, "   "), None);
        let long = "ab".repeat(32);
        assert_eq!(bytes(Algorithm::Sha512T256, &long), Some(vec![0xab; 32]));
    }

    #[test]
    fn what_is_no_ha1_is_refused_and_not_repeated() {
        for kept in [
            "secret",
            "939e7578ed9e3c518a452acee763bce",
            "939e7578ed9e3c518a452acee763bceg",
        ] {
            let mut ha1s = Ha1s::default();
            let error = set(&mut ha1s, Algorithm::Md5, kept.as_bytes()).unwrap_err();
            assert_eq!(error, "its MD5 HA1 is not 32 hexadecimal digits");
            assert!(ha1s.get(Algorithm::Md5).is_none());
        }
        // As long as another algorithm's.
        let mut ha1s = Ha1s::default();
        let md5 = b"939e7578ed9e3c518a452acee763bce9";
        assert!(set(&mut ha1s, Algorithm::Sha256, md5).is_err());
    }
}
