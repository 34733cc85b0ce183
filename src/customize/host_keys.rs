//! The keys by which an SSH server proves which machine it is (sshd(8)): `/etc/ssh/ssh_host_TYPE_key`, with the public part
//! in a file of that name and `.pub`.

/// A key that a system has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// Its type, as `ssh-keygen -t` knows it.
    pub kind: &'static str,
    /// Its size in bits, where `ssh-keygen` is to be told.
    pub bits: Option<u32>,
}

/// Where they are, from the root of a system.
pub const FOLDER: &str = "etc/ssh";

/// The types, and what a public key of each begins with.
const KINDS: [(&str, &str); 4] =
    [("rsa", "ssh-rsa "), ("ecdsa", "ecdsa-sha2-"), ("ed25519", "ssh-ed25519 "), ("dsa", "ssh-dss ")];
/// A private key of 16384 bits, the largest that `ssh-keygen` makes, has less.
const MOST_KEY_BYTES: usize = 64 << 10;

/// Where a system makes keys that are missing when it starts, and what the file has to say for that: Fedora's and RHEL's
/// units, Arch's, openSUSE's helper, Alpine's and Gentoo's service. Debian's does not.
pub const MAKERS: [(&str, &str); 6] = [
    ("usr/lib/systemd/system/sshd-keygen@.service", "keygen"),
    ("usr/lib/systemd/system/sshd-keygen.service", "keygen"),
    ("usr/lib/systemd/system/sshdgenkeys.service", "ssh-keygen"),
    ("usr/sbin/sshd-gen-keys-start", "ssh-keygen"),
    ("etc/init.d/sshd", "ssh-keygen -A"),
    ("etc/init.d/ssh", "ssh-keygen -A"),
];

/// The name in front of the domain in a `/etc/hostname` (hostname(5)), for a comment; `None` where there is none.
#[must_use]
pub fn host_name(text: &[u8]) -> Option<&str> {
    let lines = str::from_utf8(text).ok()?.lines().map(str::trim);
    let name = lines.filter(|line| !line.starts_with('#')).find(|line| !line.is_empty())?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (name.len() <= 253 && name.chars().all(fits)).then_some(name)
}

/// The keys in a `sshd_config` (sshd_config(5)) that are none of those that [`HostKey::of`] knows.
pub fn named_elsewhere(config: &str) -> impl Iterator<Item = &str> {
    config.lines().filter_map(|line| {
        let line = line.trim();
        let (keyword, rest) = line.split_once(|c: char| c.is_whitespace() || c == '=')?;
        let path = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim_end();
        let path = path.trim_matches('"');
        let name = path.strip_prefix('/').and_then(|path| path.strip_prefix(FOLDER)?.strip_prefix('/'));
        let is_known = name.is_some_and(|name| HostKey::of(name, None).is_some());
        (keyword.eq_ignore_ascii_case("HostKey") && !path.is_empty() && !is_known).then_some(path)
    })
}

/// True where a file of [`MAKERS`] makes keys at every start, and not at the very first one alone.
#[must_use]
pub fn makes_keys(text: &str, says: &str) -> bool {
    text.contains(says) && !text.contains("ConditionFirstBoot=")
}

impl HostKey {
    /// What a file of the folder is, by its name and the public part of the key; `None` where it is none.
    #[must_use]
    pub fn of(file: &str, public: Option<&str>) -> Option<Self> {
        let kind = file.strip_prefix("ssh_host_")?.strip_suffix("_key")?;
        let (kind, begins) = KINDS.iter().find(|(name, _)| *name == kind)?;
        let public = public.and_then(|text| text.strip_prefix(begins));
        let bits = match *kind {
            // ecdsa-sha2-nistp384 AAAA...
            "ecdsa" => public.and_then(|rest| {
                let (curve, _) = rest.split_once(' ')?;
                let bits = curve.strip_prefix("nistp")?.parse().ok()?;
                [256, 384, 521].contains(&bits).then_some(bits)
            }),
            "rsa" => public.and_then(|rest| rsa_bits(rest.split_whitespace().next()?)),
            _ => None,
        };
        Some(Self { kind, bits })
    }

    /// The name of the file with the private part.
    #[must_use]
    pub fn file(&self) -> String {
        format!("ssh_host_{}_key", self.kind)
    }

    /// What `ssh-keygen` is told to make one like it at a path.
    #[must_use]
    pub fn arguments(&self, path: &str, comment: &str) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-t", self.kind, "-N", "", "-C", comment, "-f", path].map(str::to_owned).to_vec();
        if let Some(bits) = self.bits {
            arguments.extend(["-b".to_owned(), bits.to_string()]);
        }
        arguments
    }

    /// Refuses what is no pair of such keys: a clause.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, private: &[u8], public: &[u8]) -> Result<(), String> {
        let begins = KINDS.iter().find(|(name, _)| *name == self.kind).map_or("", |(_, begins)| *begins);
        let is_private = private.starts_with(b"-----BEGIN ") && private.len() <= MOST_KEY_BYTES;
        if is_private && public.starts_with(begins.as_bytes()) && public.len() <= MOST_KEY_BYTES {
            return Ok(());
        }
        Err(format!("what ssh-keygen made is no key of type {}", self.kind))
    }
}

/// The size of an RSA key by the length of its public part in Base64, with the exponent that `ssh-keygen` takes: the name, the
/// exponent (3 bytes) and the modulus with a zero byte in front, each behind a length of 4 bytes (RFC 4253, 6.6).
fn rsa_bits(encoded: &str) -> Option<u32> {
    const BESIDE: usize = 4 + 7 + 4 + 3 + 4 + 1;
    let bytes = encoded.trim_end_matches('=').len().checked_mul(3)? / 4;
    let bits = u32::try_from(bytes.checked_sub(BESIDE)?).ok()?.checked_mul(8)?;
    (1024..=16384).contains(&bits).then_some(bits)
}

/// The fingerprint in what `ssh-keygen` prints.
#[must_use]
pub fn fingerprint(output: &str) -> Option<&str> {
    let mut words = output.lines().filter_map(|line| line.split_whitespace().next());
    words.find(|word| word.starts_with("SHA256:") && word.len() <= 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_anew_as_the_one_that_was_there() {
        let of = |file: &str, public: Option<&str>| HostKey::of(file, public).map(|key| (key.kind, key.bits));
        // 3072 and 4096 bits have 407 and 535 bytes.
        let rsa = |bytes: usize| format!("ssh-rsa {}{} x", "A".repeat(bytes * 8 / 6 + 1), ["", "=", "=="][0]);
        assert_eq!(of("ssh_host_rsa_key", Some(&rsa(407))), Some(("rsa", Some(3072))));
        assert_eq!(of("ssh_host_rsa_key", Some(&rsa(535))), Some(("rsa", Some(4096))));
        assert_eq!(of("ssh_host_ecdsa_key", Some("ecdsa-sha2-nistp384 AAAA x")), Some(("ecdsa", Some(384))));
        assert_eq!(of("ssh_host_ed25519_key", Some("ssh-ed25519 AAAA")), Some(("ed25519", None)));
        // What is not what it seems does not decide anything.
        for public in [None, Some(""), Some("ssh-dss AAAA"), Some("ssh-rsa"), Some("ssh-rsa AAAA")] {
            assert_eq!(of("ssh_host_rsa_key", public), Some(("rsa", None)), "{public:?}");
        }
        assert_eq!(of("ssh_host_ecdsa_key", Some("ecdsa-sha2-nistp999 A")), Some(("ecdsa", None)));
        for file in ["ssh_host_rsa_key.pub", "ssh_host_key", "ssh_host_x_key", "sshd_config", "rsa_key"] {
            assert_eq!(of(file, None), None, "{file}");
        }
        let key = HostKey { kind: "rsa", bits: Some(4096) };
        let said = key.arguments("/run/x", "root@pc").join(" ");
        assert_eq!(
            (said.as_str(), key.file().as_str()),
            ("-t rsa -N  -C root@pc -f /run/x -b 4096", "ssh_host_rsa_key")
        );
        assert!(key.check(b"-----BEGIN OPENSSH PRIVATE KEY-----", b"ssh-rsa AAAA").is_ok());
        assert!(key.check(b"-----BEGIN OPENSSH PRIVATE KEY-----", b"ssh-ed25519 AAAA").is_err());
        assert!(key.check(b"", b"ssh-rsa AAAA").is_err());
    }

    #[test]
    fn keys_in_other_places_and_names_for_a_comment_are_read() {
        let config = "# HostKey /a\nHostKey /etc/ssh/ssh_host_rsa_key\nhostkey=\"/srv/keys/one\"\n  HOSTKEY\t/etc/ssh/ssh_host_x_key # y\n\
                      HostKeyAlgorithms x\nHostKey\nHostKeyAgent /b\nHostKey \"/etc/ssh/ssh_host_ed25519_key\"\n";
        let named: Vec<&str> = named_elsewhere(config).collect();
        assert_eq!(named, ["/srv/keys/one", "/etc/ssh/ssh_host_x_key # y"]);
        assert_eq!(host_name(b"# made by x\n\n pc-07.example \n"), Some("pc-07.example"));
        for text in [b"".as_slice(), b"\n", b"\xff\xfe", b"a b", b"a\0b"] {
            assert_eq!(host_name(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_a_start_makes_and_what_ssh_keygen_prints_is_read() {
        assert!(makes_keys("ExecStart=/usr/libexec/openssh/sshd-keygen %i", "keygen"));
        assert!(!makes_keys("ConditionFirstBoot=yes\nExecStart=ssh-keygen -A", "keygen"));
        assert!(!makes_keys("# nothing", "ssh-keygen -A"));
        let printed =
            "Generating public/private rsa key pair.\nThe key fingerprint is:\nSHA256:abc root@pc\n";
        assert_eq!(fingerprint(printed), Some("SHA256:abc"));
        assert_eq!(fingerprint("none"), None);
    }
}
