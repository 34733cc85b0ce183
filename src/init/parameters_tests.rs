//! What the kernel's command line may hold.

use super::*;
use proptest::prelude::*;

#[test]
fn a_whole_command_line() {
    let parameters = Parameters::read(
        "BOOT_IMAGE=vmlinuz initrd=initramfs.img console=tty0 console=ttyS0,115200 quiet ip=dhcp \
         BOOTIF=01-52-54-00-12-34-56 remint.server=https://imaging.example:8460 remint.token=abcdef \
         remint.fingerprint=00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff \
         remint.job=\"capture lab --to @/store --disk /dev/vda && verify lab --from @/store\" \
         remint.end=poweroff remint.failure=reboot remint.retry=30 remint.console=ttyS0,115200 \
         remint.keymap=de-latin1 remint.loglevel=debug nameserver=10.0.0.53 vlan=vlan5:eth0",
    );
    assert_eq!((&parameters.warnings, &parameters.errors), (&vec![], &vec![]));
    assert_eq!(parameters.mode, Mode::Run);
    assert_eq!(parameters.job.len(), 2);
    assert_eq!((parameters.end, parameters.failure), (Action::PowerOff, Action::Reboot));
    assert_eq!(parameters.retry, Duration::from_secs(30));
    assert_eq!(parameters.console.as_deref(), Some("ttyS0"));
    assert_eq!(parameters.booted.unwrap().to_string(), "52:54:00:12:34:56");
    assert!(parameters.needs_network() && parameters.needs_server());
    assert!(parameters.fingerprint.is_some() && parameters.log_level == Some(LogLevel::Debug));
}

#[test]
fn what_is_left_out_has_a_sane_value() {
    let parameters = Parameters::read("quiet");
    assert_eq!(parameters.mode, Mode::Menu);
    assert_eq!((parameters.end, parameters.failure), (Action::Reboot, Action::Wait));
    assert!(!parameters.needs_network() && parameters.errors.is_empty() && parameters.warnings.is_empty());
    assert_eq!(Parameters::read("remint.script=@/boot/x.sh").mode, Mode::Run);
    assert_eq!(Parameters::read("remint.job=inspect remint.mode=shell").mode, Mode::Shell);
    assert!(!Parameters::read("remint.job=inspect").needs_network());
    let asking = Parameters::read("remint.mode=run");
    assert!(asking.asks_the_server() && asking.needs_network() && asking.needs_server());
    assert!(!parameters.asks_the_server() && !Parameters::read("remint.job=inspect").asks_the_server());
}

#[test]
fn an_unknown_name_gets_the_nearest_known_one() {
    let parameters = Parameters::read("remint.sever=x Remint.Token=y bootif=z other.thing=1 remint_x");
    let warnings = parameters.warnings.join("\n");
    assert!(warnings.contains("remint.sever is not known; did you mean remint.server?"), "{warnings}");
    assert!(warnings.contains("did you mean remint.token?") && warnings.contains("did you mean BOOTIF?"));
    assert!(!warnings.contains("other.thing"));
    assert!(parameters.errors.is_empty());
}

#[test]
fn a_bad_value_is_named() {
    for (text, part) in [
        ("remint.mode=rum", "remint.mode: \"rum\" is none of run, menu, shell"),
        ("remint.end=wait", "remint.end: \"wait\" is none of"),
        ("remint.failure", "remint.failure: it has no value"),
        ("remint.retry=soon", "remint.retry: \"soon\""),
        ("remint.retry=99999999999999999999", "seconds up to"),
        ("remint.fingerprint=12", "remint.fingerprint: \"12\" is not the SHA-256"),
        ("remint.job=\"a | b\"", "remint.job: \"|\" is for a shell"),
        ("remint.job=inspect remint.script=x", "give one of them"),
        ("remint.console=../x", "no console"),
        ("remint.keymap=../../etc", "no keyboard layout"),
        ("ip=10.0.0.5", "ip: 10.0.0.5 has no netmask"),
        ("ip=off ip=dhcp", "off stands beside"),
        ("vlan=5", "vlan: write NAME:DEVICE"),
        ("nameserver=ns1", "nameserver: \"ns1\""),
    ] {
        let errors = Parameters::read(text).errors.join("\n");
        assert!(errors.contains(part), "{text}: {errors}");
    }
}

#[test]
fn no_message_holds_the_token() {
    let parameters = Parameters::read("remint.token=s3cret remint.mode=s3cret remint.s3cret=1 BOOTIF=s3cret");
    let said = format!("{parameters:?}");
    assert!(!said.contains("s3cret"), "{said}");
    assert_eq!(parameters.blanker().blank("x remint.token=s3cret"), "x remint.token=***");
}

/// The rows of the table of parameters in docs/boot.md.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/boot.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("=` |"));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_document_lists_every_parameter_and_no_other() {
    let documented = documented();
    let mut names: Vec<&str> = NAMES.to_vec();
    names.sort_unstable();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, names);
    for name in documented {
        let parameters = Parameters::read(&format!("{name}=\u{1}"));
        assert!(!parameters.warnings.iter().any(|text| text.contains("not known")), "{name}");
        let other = Parameters::read(&format!("remint-{name}=1"));
        assert!(!other.warnings.is_empty(), "a name that is not listed is seen");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Parameters::read(&text);
    }

    #[test]
    fn no_value_makes_it_panic(
        words in proptest::collection::vec((0..NAMES.len(), "[-a-f0-9.:/@%\\[\\]\"'\\\\;&= \u{e9}]{0,24}"), 0..6),
        secret in "[A-Z]{8}",
    ) {
        let mut text = format!("remint.token={secret}");
        for (name, value) in words {
            text.push_str(&format!(" {}={value}", NAMES[name]));
        }
        let parameters = Parameters::read(&text);
        let said = format!("{parameters:?}");
        prop_assert!(!said.contains(&secret), "{}", said);
        prop_assert!(!parameters.blanker().blank(&text).contains(&secret));
        for request in &parameters.addresses {
            if let Method::Static { address, prefix, .. } = request.method {
                let longest = if address.is_ipv4() { 32 } else { 128 };
                prop_assert!((1..=longest).contains(&prefix), "{}", prefix);
            }
        }
    }
}
