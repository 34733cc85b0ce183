//! The kernel's configuration holds what its fragments ask for: every symbol has a reason and is in the result,
//! and no driver of the kernel is forgotten. Configures Debian's kernel, compiles nothing.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(fragments: &Path) -> (Output, String) {
    let output = Command::new(root().join("scripts/kernel-own"))
        .arg("--check")
        .env("KERNEL_CONFIG", fragments)
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

/// A copy of the fragments, in which `change` is made to the text of `file`.
fn changed(name: &str, file: &str, change: impl Fn(String) -> String) -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kernel-config-{name}"));
    std::fs::create_dir_all(&copy).unwrap();
    for entry in std::fs::read_dir(root().join("kernel-config")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let before = std::fs::read_to_string(copy.join(file)).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the change to {file} changed nothing");
    std::fs::write(copy.join(file), after).unwrap();
    copy
}

fn refused(fragments: &Path, sentences: &[&str]) {
    let (output, text) = check(fragments);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for sentence in sentences {
        assert!(text.contains(sentence), "no '{sentence}' in:\n{text}");
    }
}

#[test]
fn every_symbol_that_is_asked_for_is_in_the_result() {
    let (output, text) = check(&root().join("kernel-config"));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("all that was asked for among them"), "{text}");
}

#[test]
fn a_symbol_that_is_not_in_the_result_is_named_with_its_fragment_and_what_it_lacks() {
    let asking_too_much = changed("unmet", "network.config", |text| {
        text + "\n# Never built: no such bridge here, and no such card.\nCONFIG_NTB_NETDEV=y\nCONFIG_NO_SUCH_CARD=y\n"
    });
    refused(
        &asking_too_much,
        &[
            "CONFIG_NTB_NETDEV=y was asked for, the result has n",
            "drivers/net/Kconfig:",
            "needs NTB_TRANSPORT [NTB_TRANSPORT=n]",
            "CONFIG_NO_SUCH_CARD is unknown to this kernel",
            "kernel-config: network.config:",
            "nothing was built",
        ],
    );
}

#[test]
fn a_driver_that_is_neither_built_nor_left_out_with_a_reason_is_named() {
    let forgotten = changed("forgotten", "network.config", |text| text.replace("CONFIG_IGC=y\n", ""));
    refused(
        &forgotten,
        &["IGC (drivers/net/ethernet/intel/Kconfig:", "neither in a fragment nor in left-out"],
    );
}

#[test]
fn a_symbol_without_a_reason_or_in_two_fragments_is_refused() {
    let twice = changed("form", "console.config", |text| text + "\nCONFIG_IGC=y\nCONFIG_SOUND=m\n");
    refused(
        &twice,
        &[
            "CONFIG_IGC has no reason",
            "CONFIG_IGC is in console.config:",
            "CONFIG_SOUND=m: this kernel has no modules",
        ],
    );
}
