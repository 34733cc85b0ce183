//! The hash functions that LUKS names, and what it makes of them: PBKDF2, and keys that lie spread over a long area.

use super::OPEN_IT;
use crate::filesystem::Error;
use crate::units::{u64_from, usize_from};
use ring::{digest, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// A hash function by the name that a header gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// `None` where Remint does not have it: RIPEMD-160 and Whirlpool of old headers, and what is rarer.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// PBKDF2 (RFC 8018), as many bytes as `out` has.
    pub(super) fn pbkdf2(self, secret: &[u8], salt: &[u8], iterations: NonZeroU32, out: &mut [u8]) {
        let algorithm = match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        pbkdf2::derive(algorithm, iterations, salt, secret, out);
    }

    pub(super) fn of(self, parts: &[&[u8]]) -> digest::Digest {
        let mut context = digest::Context::new(match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        });
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The key whose `stripes` stripes of `key_bytes` bytes each are in `split`: the anti-forensic splitter read backwards
    /// (LUKS1 On-Disk Format 1.2.3, section 2.4).
    pub(super) fn merge(self, split: &[u8], key_bytes: usize, stripes: usize) -> Option<Zeroizing<Vec<u8>>> {
        if key_bytes == 0 || stripes == 0 || split.len() != key_bytes.checked_mul(stripes)? {
            return None;
        }
        let mut key = Zeroizing::new(vec![0u8; key_bytes]);
        for (number, stripe) in (1..=stripes).zip(split.chunks_exact(key_bytes)) {
            key.iter_mut().zip(stripe).for_each(|(key, stripe)| *key ^= stripe);
            if number < stripes {
                self.diffuse(&mut key);
            }
        }
        Some(key)
    }

    /// Every piece of a hash's length becomes its hash behind its number.
    fn diffuse(self, key: &mut [u8]) {
        for (number, piece) in (0u32..).zip(key.chunks_mut(self.bytes())) {
            let hash = self.of(&[&number.to_be_bytes(), piece]);
            piece.iter_mut().zip(hash.as_ref()).for_each(|(byte, hash)| *byte = *hash);
        }
    }
}

/// What makes a key of a passphrase, or a digest of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kdf {
    Pbkdf2 {
        hash: String,
        iterations: u64,
    },
    Argon2 {
        is_id: bool,
        passes: u64,
        memory_kib: u64,
        lanes: u64,
    },
    /// One that no LUKS is known to have.
    Other(String),
}

/// What this machine can spend on one keyslot.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory that Argon2 may take, in bytes.
    pub memory_bytes: u64,
}

/// The most that cryptsetup lets Argon2 take, in KiB: 4 GiB (`lib/crypto_backend/pbkdf_check.c`).
const ARGON2_KIB: u64 = 4 << 20;
/// It makes keyslots of 4 threads at most. More cost nothing here, where one thread does the work of all.
const ARGON2_LANES: u64 = 16;
/// Memory that Argon2 may go through, in KiB: 256 GiB, which should take some minutes (not measured). cryptsetup makes keyslots of about 8 GiB.
const ARGON2_WORK_KIB: u64 = 256 << 20;
/// Some minutes too, not measured either. cryptsetup makes keyslots of some millions, and takes as many as a number of 32 bits holds.
const PBKDF2_ITERATIONS: u64 = 1 << 28;
/// What all tries on one volume may take together: four times the most that one of them may.
const WORK: u64 = 1 << 30;

/// What tries of keys on one volume may still take: in KiB that Argon2 goes through, or iterations of PBKDF2, which take about as long.
pub(super) struct Work(u64);

impl Work {
    pub(super) const fn of_a_volume() -> Self {
        Self(WORK)
    }

    fn take(&mut self, who: &str, work: u64) -> Result<(), Error> {
        let Some(left) = self.0.checked_sub(work) else {
            return Err(Error::unsupported(format!(
                "{who} is not tried any more, because what was tried on this volume before took long: name the one key that opens it"
            )));
        };
        self.0 = left;
        Ok(())
    }
}

impl Kdf {
    /// Length of what it makes, where that is what its hash has, in bytes; `None` where that is not known.
    pub(super) fn digest_bytes(&self) -> Option<usize> {
        match self {
            Self::Pbkdf2 { hash, .. } => Hash::named(hash).map(Hash::bytes),
            Self::Argon2 { .. } | Self::Other(_) => None,
        }
    }

    /// Fills `out`, `who` being what is derived for, in a sentence.
    pub(super) fn derive(
        &self,
        who: &str,
        secret: &[u8],
        salt: &[u8],
        (limits, work): (Limits, &mut Work),
        out: &mut [u8],
    ) -> Result<(), Error> {
        match self {
            Self::Pbkdf2 { hash, iterations } => {
                let Some(hash) = Hash::named(hash) else {
                    return Err(Error::unsupported(format!(
                        "{who} needs the hash {hash}, which Remint does not have"
                    )));
                };
                let iterations = Some(*iterations).filter(|iterations| *iterations <= PBKDF2_ITERATIONS);
                let counted = iterations.and_then(|iterations| u32::try_from(iterations).ok());
                let Some(iterations) = counted.and_then(NonZeroU32::new) else {
                    return Err(Error::unsupported(format!(
                        "{who} asks for {self}, and Remint takes 1 to {PBKDF2_ITERATIONS} iterations: {OPEN_IT}"
                    )));
                };
                // Every stretch of the hash's length takes all iterations again.
                let stretches = u64_from(out.len().div_ceil(hash.bytes()));
                work.take(who, stretches.saturating_mul(iterations.get().into()))?;
                hash.pbkdf2(secret, salt, iterations, out);
                Ok(())
            }
            Self::Argon2 { is_id, passes, memory_kib, lanes } => {
                self.check_argon2(who, *passes, *memory_kib, *lanes, limits)?;
                let failed = |error: argon2::Error| Error::unsupported(format!("{who}, {self}: {error}"));
                let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                let parameters = argon2::Params::new(
                    number(*memory_kib),
                    number(*passes),
                    number(*lanes),
                    Some(out.len()),
                )
                .map_err(failed)?;
                work.take(who, passes.saturating_mul(*memory_kib))?;
                let kind = if *is_id { argon2::Algorithm::Argon2id } else { argon2::Algorithm::Argon2i };
                let mut blocks = Zeroizing::new(Vec::new());
                let count = parameters.block_count();
                blocks.try_reserve_exact(count).map_err(|_| failed(argon2::Error::OutOfMemory))?;
                blocks.resize(count, argon2::Block::new());
                argon2::Argon2::new(kind, argon2::Version::V0x13, parameters)
                    .hash_password_into_with_memory(secret, salt, out, blocks.as_mut_slice())
                    .map_err(failed)
            }
            Self::Other(name) => Err(Error::unsupported(format!(
                "{who} derives its key with {name}, which Remint does not know"
            ))),
        }
    }

    fn check_argon2(
        &self,
        who: &str,
        passes: u64,
        kib: u64,
        lanes: u64,
        limits: Limits,
    ) -> Result<(), Error> {
        let refused = |why: String| Err(Error::unsupported(format!("{who} asks for {self}, and {why}")));
        if kib.saturating_mul(1024) > limits.memory_bytes {
            let free = crate::units::format_size(limits.memory_bytes);
            return refused(format!("Remint can take {free} on this machine: use one with more memory"));
        }
        if kib > ARGON2_KIB || lanes > ARGON2_LANES || passes.saturating_mul(kib) > ARGON2_WORK_KIB {
            return refused("that is more than any keyslot of LUKS needs".to_owned());
        }
        Ok(())
    }
}

impl std::fmt::Display for Kdf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pbkdf2 { hash, iterations } => write!(f, "pbkdf2-{hash} with {iterations} iterations"),
            Self::Argon2 { is_id, passes, memory_kib, lanes } => {
                let kind = if *is_id { "argon2id" } else { "argon2i" };
                let memory = crate::units::format_size(memory_kib.saturating_mul(1024));
                write!(f, "{kind} with {passes} passes over {memory} in {lanes} threads")
            }
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// The bytes that a text in base 64 stands for (RFC 4648), without line breaks; `None` where it is none.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0u32);
    let digits = text.trim_end_matches('=').bytes();
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit.checked_sub(b'A')?,
            b'a'..=b'z' => digit.checked_sub(b'a')?.checked_add(26)?,
            b'0'..=b'9' => digit.checked_sub(b'0')?.checked_add(52)?,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count = count.saturating_add(6);
        if count >= 8 {
            count = count.saturating_sub(8);
            let [.., byte] = (bits >> count).to_be_bytes();
            bytes.push(byte);
        }
        bits &= 0xFF;
    }
    let padded = u64_from(text.len()).is_multiple_of(4);
    (padded && bytes.len() <= usize_from(4096)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Hex;

    const LIMITS: Limits = Limits { memory_bytes: 1 << 20 };

    #[test]
    fn base_64_is_read_as_its_standard_says() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(from_base64("J9Ao4is/+w==").unwrap(), [0x27, 0xD0, 0x28, 0xE2, 0x2B, 0x3F, 0xFB]);
        for text in ["Zg=", "Zg", "Z g=", "Zg==\n", "é==="] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_header_asks_for_is_bounded() {
        let argon2 = |passes, memory_kib, lanes| Kdf::Argon2 { is_id: true, passes, memory_kib, lanes };
        let pbkdf2 = |hash: &str, iterations| Kdf::Pbkdf2 { hash: hash.to_owned(), iterations };
        for (kdf, part) in [
            (argon2(1, 1025, 1), "with more memory"),
            (argon2(u64::MAX, 1024, 1), "more than any keyslot"),
            (argon2(1, u64::MAX, 1), "with more memory"),
            (argon2(1, 1024, 17), "more than any keyslot"),
            (argon2(0, 1024, 1), "keyslot 3"),
            (argon2(1, 0, 1), "keyslot 3"),
            (pbkdf2("sha256", 0), "1 to 268435456"),
            (pbkdf2("sha256", (1 << 28) + 1), "1 to 268435456"),
            (pbkdf2("whirlpool", 1000), "needs the hash whirlpool"),
            (Kdf::Other("scrypt".to_owned()), "scrypt"),
        ] {
            let said = derive(&kdf, LIMITS, &mut Work::of_a_volume()).unwrap_err();
            assert!(said.to_string().contains(part) && said.to_string().contains("keyslot 3"), "{said}");
        }
        let large = Limits { memory_bytes: u64::MAX };
        let said = derive(&argon2(1, (4 << 20) + 1, 1), large, &mut Work::of_a_volume()).unwrap_err();
        assert!(said.to_string().contains("more than any"), "{said}");
        let said = derive(&pbkdf2("sha256", 1 << 29), LIMITS, &mut Work::of_a_volume()).unwrap_err();
        assert!(said.to_string().contains("/dev/mapper"), "{said}");
        // A digest as long as two of its hash costs twice as much.
        for kdf in [argon2(1, 64, 2), pbkdf2("sha1", 32)] {
            assert!(derive(&kdf, LIMITS, &mut Work(64)).is_ok());
            let said = derive(&kdf, LIMITS, &mut Work(63)).unwrap_err();
            assert!(said.to_string().contains("keyslot 3 is not tried any more"), "{said}");
        }
    }

    fn derive(kdf: &Kdf, limits: Limits, work: &mut Work) -> Result<(), Error> {
        kdf.derive("keyslot 3", b"secret", &[1; 32], (limits, work), &mut [0; 32])
    }

    /// A vector of the tests of the reference implementation (phc-winner-argon2, `src/test.c`).
    #[test]
    fn argon2_in_memory_of_our_own_is_argon2() {
        let kdf = Kdf::Argon2 { is_id: true, passes: 2, memory_kib: 65_536, lanes: 1 };
        let (mut out, large) = ([0; 32], Limits { memory_bytes: u64::MAX });
        kdf.derive("it", b"password", b"somesalt", (large, &mut Work::of_a_volume()), &mut out).unwrap();
        let expected: Hex =
            "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7".parse().unwrap();
        assert_eq!(out.as_slice(), expected.0);
    }

    #[test]
    fn a_key_that_was_split_is_found_again() {
        // The splitter of the specification, forwards.
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
            let key: Vec<u8> = (0..64).collect();
            let mut split: Vec<u8> = (0..64 * 6).map(|n: u32| (n * 7).to_le_bytes()[0]).collect();
            let mut sum = vec![0u8; 64];
            for stripe in split.chunks(64) {
                sum.iter_mut().zip(stripe).for_each(|(sum, byte)| *sum ^= byte);
                hash.diffuse(&mut sum);
            }
            split.extend(sum.iter().zip(&key).map(|(sum, key)| sum ^ key));
            assert_eq!(hash.merge(&split, 64, 7).unwrap().as_slice(), key);
            assert!(hash.merge(&split, 64, 6).is_none() && hash.merge(&[], 0, 0).is_none());
        }
    }
}
