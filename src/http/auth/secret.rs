//! Secrets that nobody can guess, and how they are kept.

use sha2::{Digest as _, Sha256};

/// SHA-256 of a secret. The secrets are random: a slow hash would add nothing.
pub type Digest = [u8; 32];

/// What is kept of a secret, and what it is looked up by. Who does not know the secret cannot steer its digest, so how long the
/// look-up takes tells nothing.
pub fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

/// 32 random bytes as 43 characters of base64url (RFC 4648, section 5), without padding.
pub fn random() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes: [u8; 32] = rand::random();
    let mut text = String::with_capacity(43);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_43_characters_and_is_never_the_same() {
        let (one, other) = (random(), random());
        assert_eq!(one.len(), 43);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(one, other);
    }
}
