//! Boot files are served whole and in parts to everyone who asks, and nothing outside their folder is.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use remint::server::{RunningServer, ServeOptions, start};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;
use tempfile::TempDir;

struct Site {
    folder: TempDir,
    server: RunningServer,
    kernel: Vec<u8>,
}

/// A server with a token, its data, and boot files with everything beside them that must not be reached.
fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let boot = folder.path().join("boot");
    fs::create_dir_all(boot.join("grub/empty")).unwrap();
    let kernel: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    fs::write(boot.join("vmlinuz-6.1"), &kernel).unwrap();
    fs::write(boot.join("boot.ipxe"), "#!ipxe\n").unwrap();
    fs::write(boot.join("shimx64.efi"), "MZ").unwrap();
    fs::write(boot.join("a file.txt"), "text").unwrap();
    fs::write(boot.join("grub/grub.cfg"), "boot\n").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    symlink("vmlinuz-6.1", boot.join("vmlinuz")).unwrap();
    symlink("../vmlinuz-6.1", boot.join("grub/kernel")).unwrap();
    symlink("../secret", boot.join("outside")).unwrap();
    symlink("/etc/passwd", boot.join("absolute")).unwrap();
    symlink("..", boot.join("up")).unwrap();
    symlink("/proc/self/root/etc/passwd", boot.join("magic")).unwrap();
    symlink("loop", boot.join("loop")).unwrap();
    nix::unistd::mkfifo(&boot.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut options = ServeOptions::new(folder.path().join("data"), "127.0.0.1:0".parse().unwrap());
    options.boot = Some(boot);
    options.token = Some("right".to_owned());
    let server = start(&options).unwrap();
    Site { folder, server, kernel }
}

/// Sends a request without a body; returns head and body of the answer.
fn ask(server: &RunningServer, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap().to_lowercase(), body)
}

#[test]
fn files_are_served_whole_in_parts_and_as_heads_without_a_token() {
    let Site { folder: _folder, server, kernel } = site();
    for path in ["/boot/vmlinuz-6.1", "/boot/vmlinuz", "/boot/grub/kernel"] {
        let (head, body) = ask(&server, "GET", path, "");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains("content-length: 3000000\r\n"), "{head}");
        assert!(head.contains("content-type: application/octet-stream\r\n"), "{head}");
        assert!(body == kernel, "{path}");
    }
    let (head, body) = ask(&server, "HEAD", "/boot/vmlinuz", "");
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 3000000\r\n"), "{head}");
    assert!(body.is_empty());
    let (head, body) = ask(&server, "GET", "/boot/vmlinuz", "Range: bytes=2999990-\r\n");
    assert!(head.starts_with("http/1.1 206"), "{head}");
    assert!(head.contains("content-range: bytes 2999990-2999999/3000000\r\n"), "{head}");
    assert_eq!(body, kernel[2_999_990..]);
    let (head, _) = ask(&server, "GET", "/boot/vmlinuz", "Range: bytes=3000000-\r\n");
    assert!(head.starts_with("http/1.1 416"), "{head}");
    for (path, kind, content) in [
        ("/boot/boot.ipxe", "text/plain; charset=utf-8", "#!ipxe\n"),
        ("/boot/grub/grub.cfg", "text/plain; charset=utf-8", "boot\n"),
        ("/boot/shimx64.efi", "application/efi", "MZ"),
        ("/boot/a%20file.txt", "text/plain; charset=utf-8", "text"),
    ] {
        let (head, body) = ask(&server, "GET", path, "");
        assert!(head.contains(&format!("content-type: {kind}\r\n")), "{path}: {head}");
        assert_eq!(body, content.as_bytes(), "{path}");
    }
    let (head, _) = ask(&server, "GET", "/store/remint-store.json", "");
    assert!(head.starts_with("http/1.1 401"), "the store keeps its token: {head}");
}

#[test]
fn nothing_but_regular_files_inside_the_folder_is_served() {
    let Site { folder: _folder, server, .. } = site();
    for path in [
        "/boot",
        "/boot/",
        "/boot/grub",
        "/boot/grub/",
        "/boot/grub/empty",
        "/boot/none",
        "/boot/boot.ipxe/",
        "/boot//boot.ipxe",
        "/boot/./boot.ipxe",
        "/boot/grub/../boot.ipxe",
        "/boot/../secret",
        "/boot/%2e%2e/secret",
        "/boot/..%2fsecret",
        "/boot/%2fetc%2fpasswd",
        "/boot//etc/passwd",
        "/boot/boot.ipxe%00",
        "/boot/%ff%fe",
        "/boot/outside",
        "/boot/absolute",
        "/boot/magic",
        "/boot/up/secret",
        "/boot/up/boot/boot.ipxe",
        "/boot/loop",
        "/boot/pipe",
        &format!("/boot/{}", "a".repeat(300)),
        &format!("/boot/{}", "a/".repeat(2500)),
    ] {
        for method in ["GET", "HEAD"] {
            let (head, body) = ask(&server, method, path, "");
            assert!(head.starts_with("http/1.1 404"), "{method} {path}: {head}");
            assert!(head.contains("application/problem+json"), "{method} {path}: {head}");
            assert!(!String::from_utf8_lossy(&body).contains("root:"), "{path}");
        }
    }
}

#[test]
fn a_folder_that_is_made_anew_is_served_anew() {
    let Site { folder, server, .. } = site();
    let boot = folder.path().join("boot");
    fs::rename(&boot, folder.path().join("before")).unwrap();
    let (head, _) = ask(&server, "GET", "/boot/boot.ipxe", "");
    assert!(head.starts_with("http/1.1 500"), "{head}");
    fs::create_dir(&boot).unwrap();
    fs::write(boot.join("boot.ipxe"), "new").unwrap();
    assert_eq!(ask(&server, "GET", "/boot/boot.ipxe", "").1, b"new");
    assert!(ask(&server, "GET", "/boot/vmlinuz", "").0.starts_with("http/1.1 404"));
}

#[test]
fn the_folder_is_only_read() {
    let Site { folder, server, kernel } = site();
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        for path in ["/boot/vmlinuz", "/boot/new"] {
            let (head, _) = ask(&server, method, path, "Content-Length: 0\r\n");
            assert!(head.starts_with("http/1.1 405"), "{method} {path}: {head}");
        }
    }
    assert!(fs::read(folder.path().join("boot/vmlinuz")).unwrap() == kernel);
    assert!(!folder.path().join("boot/new").exists());
}

#[test]
fn a_server_without_boot_files_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = ServeOptions::new(folder.path().join("data"), "127.0.0.1:0".parse().unwrap());
    let server = start(&options).unwrap();
    let (head, body) = ask(&server, "GET", "/boot/vmlinuz", "");
    assert!(head.starts_with("http/1.1 404"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("--boot"), "the way out");
    options.boot = Some(folder.path().join("nowhere"));
    let error = start(&options).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("boot files"), "{error}");
}
