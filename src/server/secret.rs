//! Secrets: tokens that are random and kept as hashes, passwords that are kept as argon2id hashes.

use super::problem::Problem;
use crate::linux;
use crate::units::Hex;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};

/// The shortest password that is taken.
pub(super) const MIN_PASSWORD: usize = 8;
/// The longest: hashing more would be work for nothing.
pub(super) const MAX_PASSWORD: usize = 1024;

/// The hash by which a token is known.
pub(super) type TokenHash = [u8; 32];

/// The hash of a token.
pub(super) fn hash_of(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Draws a token of 256 bits, and its hash.
pub(super) fn new_token() -> Result<(String, TokenHash), Problem> {
    let mut bytes = Vec::with_capacity(32);
    for _ in 0..2 {
        bytes.extend(linux::random_bits().map_err(|error| Problem::internal(error.to_string()))?);
    }
    let token = Hex(bytes).to_string();
    let hash = hash_of(&token);
    Ok((token, hash))
}

/// The hash of a password. Takes 19 MiB and a moment, on purpose.
pub(super) fn hash_password(password: &str) -> Result<String, Problem> {
    let length = password.chars().count();
    if length < MIN_PASSWORD || password.len() > MAX_PASSWORD {
        let detail =
            format!("a password has at least {MIN_PASSWORD} characters, and at most {MAX_PASSWORD} bytes");
        return Err(Problem::bad_request(detail));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| Problem::internal(format!("hashing a password: {error}")))
}

/// Whether a password is the one of a hash. Where there is no hash, because there is no such user, the same work is
/// done, so that time tells nobody which names there are.
pub(super) fn is_password(password: &str, hash: Option<&str>) -> bool {
    /// Of a password that nobody has.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let known = hash.is_some();
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or(NOBODY)) else { return false };
    let fits = password.len() <= MAX_PASSWORD
        && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
    fits && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$") && !hash.contains("correct"));
        assert!(is_password("correct horse", Some(&hash)));
        assert!(!is_password("correct horsf", Some(&hash)) && !is_password("correct horse", None));
        assert!(hash_password("short").is_err() && hash_password(&"x".repeat(2000)).is_err());
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (token, hash) = new_token().unwrap();
        assert_eq!((token.len(), hash), (64, hash_of(&token)));
        assert_ne!(new_token().unwrap().0, token);
    }
}
