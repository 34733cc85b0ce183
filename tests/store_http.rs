//! The reference server and its client keep their promises: over a bad network, to strangers, and to each other.
#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]
#![allow(missing_docs)]

mod store_fixture;

use remint::http::{Access, Fingerprint, Secret};
use remint::image::{ChunkId, CollectOptions, MAX_FRAME_BYTES, Store, StoreError, layout};
use remint::server::{RunningServer, ServeOptions, TlsChoice, TlsFiles, start};
use remint::store::{Directory, OpenOptions, open};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use store_fixture::{Volume, capture, content, files_below, frame, version};
use tempfile::TempDir;

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn server(change: impl FnOnce(&mut ServeOptions)) -> (TempDir, RunningServer) {
    let data = tempfile::tempdir().unwrap();
    let mut options = ServeOptions::new(data.path().to_owned(), local());
    change(&mut options);
    let server = start(&options).unwrap();
    (data, server)
}

fn access() -> Access {
    Access { retry_for: Duration::from_millis(1500), ..Access::default() }
}

fn by(access: Access) -> OpenOptions {
    OpenOptions { access, create: false }
}

fn quick() -> OpenOptions {
    by(access())
}

fn client(server: &RunningServer) -> Arc<dyn Store> {
    open(&server.store_url(), &quick()).unwrap()
}

/// Sends bytes as they are and reads what comes until the server closes or is silent.
fn raw(server: &RunningServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(server: &RunningServer, path: &str, headers: &str) -> String {
    raw(server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
}

fn chunk_path(part: &[u8]) -> String {
    format!("/store/{}", layout::chunk_file(ChunkId::of(part)))
}

#[test]
fn a_whole_image_goes_there_and_back() {
    let (data, server) = server(|_| {});
    let store = client(&server);
    let volume = Volume::new(5);
    let ids: Vec<ChunkId> = volume.parts.iter().map(|part| ChunkId::of(part)).collect();
    assert_eq!(store.have_chunks(&ids).unwrap(), [false; 5]);
    capture(&*store, &version("1"), &volume);
    assert_eq!(store.have_chunks(&ids).unwrap(), [true; 5]);
    assert_eq!(store.images().unwrap(), ["debian".parse().unwrap()]);
    assert_eq!(store.versions(&"debian".parse().unwrap()).unwrap(), ["1".parse().unwrap()]);
    for part in &volume.parts {
        assert_eq!(store.get_chunk(ChunkId::of(part), MAX_FRAME_BYTES).unwrap(), frame(part));
    }
    let manifest = volume.manifest(&version("1"));
    assert_eq!(store.get_file(&version("1"), "image.json", 1 << 20).unwrap(), manifest);
    assert_eq!(store.get_file(&version("1"), "d0-disk.caibx", 1 << 20).unwrap(), volume.index());
    assert!(matches!(store.get_file(&version("1"), "image.json", 10), Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.publish(&version("1"), &manifest), Err(StoreError::Refused { .. })));
    assert!(matches!(store.put_file(&version("1"), "d0-disk.used", b""), Err(StoreError::Refused { .. })));
    assert!(matches!(store.begin_capture(&version("1")), Err(StoreError::Refused { .. })));
    assert!(matches!(store.get_chunk(ChunkId::of(b"?"), 10), Err(StoreError::NotFound { .. })));
    store.delete_version(&version("1")).unwrap();
    assert!(matches!(store.delete_version(&version("1")), Err(StoreError::NotFound { .. })));
    assert!(store.images().unwrap().is_empty());
    let report = store.collect(&CollectOptions { grace_seconds: 3600, dry_run: true }).unwrap();
    assert_eq!((report.kept_chunks, report.deleted_chunks), (5, 0));
    server.stop().unwrap();
    assert!(Directory::open(&data.path().join("store"), false).is_ok());
}

#[test]
fn what_a_client_sends_is_published_only_when_it_is_right() {
    let (_data, server) = server(|_| {});
    let store = client(&server);
    let volume = Volume::new(2);
    store.begin_capture(&version("1")).unwrap();
    store.begin_capture(&version("1")).unwrap();
    volume.put_files(&*store, &version("1"));
    let manifest = volume.manifest(&version("1"));
    assert!(matches!(store.publish(&version("1"), &manifest), Err(StoreError::Corrupt { .. })), "no chunks");
    assert!(matches!(store.publish(&version("1"), b"{}"), Err(StoreError::Corrupt { .. })));
    store.abandon(&version("1")).unwrap();
    assert!(matches!(store.get_file(&version("1"), "d0-disk.used", 1000), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_chunk_with_the_wrong_content_is_refused_and_leaves_nothing() {
    let (data, server) = server(|_| {});
    let store = client(&server);
    let (part, other) = (content(10_000, 1), content(10_000, 2));
    let mut trailing = frame(&part);
    trailing.push(0);
    for bytes in [frame(&other), part.clone(), Vec::new(), trailing, frame(&part)[..100].to_vec(), frame(b"")]
    {
        let error = store.put_chunk(ChunkId::of(&part), &bytes).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    let body = String::from("no frame at all");
    let answer = raw(
        &server,
        &format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            chunk_path(&part),
            body.len()
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(
        answer.contains("application/problem+json") && answer.contains("\"kind\":\"corrupt\""),
        "{answer}"
    );
    for directory in ["store/chunks", "store/tmp"] {
        assert!(files_below(&data.path().join(directory)).is_empty());
    }
}

#[test]
fn an_upload_that_ends_early_or_stalls_leaves_nothing() {
    let (data, server) = server(|options| options.stall = Duration::from_millis(300));
    let part = content(100_000, 1);
    let bytes = frame(&part);
    let head =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", chunk_path(&part), bytes.len());
    let send_half = || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes[..bytes.len() / 2]).unwrap();
        stream
    };
    drop(send_half());
    let mut silent = send_half();
    let mut answer = String::new();
    let _ = BufReader::new(&mut silent).read_line(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let tmp = data.path().join("store/tmp");
    let patience = Instant::now() + Duration::from_secs(5);
    while !files_below(&tmp).is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(files_below(&tmp).is_empty());
    assert!(files_below(&data.path().join("store/chunks")).is_empty());
    let huge =
        format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", chunk_path(&part));
    assert!(raw(&server, &huge).starts_with("HTTP/1.1 413"));
}

#[test]
fn uploads_that_a_killed_server_left_are_cleaned_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let tmp = data.path().join("store/tmp");
    fs::create_dir_all(&tmp).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    File::create(tmp.join("put-old")).unwrap().set_modified(long_ago).unwrap();
    File::create(tmp.join("put-now")).unwrap();
    let server = start(&ServeOptions::new(data.path().to_owned(), local())).unwrap();
    assert_eq!(files_below(&tmp), [tmp.join("put-now")]);
    server.stop().unwrap();
}

#[test]
fn no_path_leaves_the_store() {
    let (data, server) = server(|_| {});
    fs::write(data.path().join("secret.used"), "secret").unwrap();
    fs::write(data.path().join("store/secret.used"), "secret").unwrap();
    let id = "a".repeat(64);
    for path in [
        "/store/chunks/../../etc/passwd".to_owned(),
        "/store/chunks/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/store/chunks/..%2f../secret.used".to_owned(),
        "/../../etc/passwd".to_owned(),
        "/store/images/../secret.used".to_owned(),
        "/store/images/%2e%2e/%2e%2e/secret.used".to_owned(),
        "/store/images/debian/%2e%2e/secret.used".to_owned(),
        "/store/images/debian/1/..%2f..%2f..%2fsecret.used".to_owned(),
        "/store/images/debian/1/%2fetc%2fpasswd".to_owned(),
        "/store/images/debian/1/secret.used%00".to_owned(),
        "/store/images/debian/1/%ff%fe.used".to_owned(),
        "/store/images/..%2f/".to_owned(),
        "/store/tmp/x".to_owned(),
        "/store/collect.lock".to_owned(),
        format!("/store/chunks/bbbb/{id}.cacnk"),
        format!("/store/chunks/aaaa/{id}"),
        format!("/store/chunks/AAAA/{}.cacnk", id.to_uppercase()),
        "/".to_owned(),
        "/etc/passwd".to_owned(),
    ] {
        let answer = get(&server, &path, "");
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 405"), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
        assert!(!answer.contains("secret\n") && !answer.contains("root:"), "{path}: {answer}");
        let put = raw(
            &server,
            &format!("PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"),
        );
        assert!(put.starts_with("HTTP/1.1 404") || put.starts_with("HTTP/1.1 405"), "{path}: {put}");
    }
    let captures = get(&server, "/store/captures/%2e%2e%2fx@1", "");
    assert!(captures.starts_with("HTTP/1.1 405"), "{captures}");
}

#[test]
fn requests_that_mean_nothing_are_refused() {
    let (_data, server) = server(|_| {});
    for (body, status) in [
        ("", "400"),
        ("{}", "400"),
        ("{\"chunks\":[\"../../x\"]}", "400"),
        ("{\"chunks\":[],\"novelty\":1}", "400"),
        ("{\"chunks\":[]}", "200"),
    ] {
        let head = "POST /store/chunks/present HTTP/1.1\r\nHost: x\r\nConnection: close";
        let answer = raw(&server, &format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {answer}");
    }
    let many = format!("{{\"chunks\":[{}]}}", vec![format!("\"{}\"", "a".repeat(64)); 4097].join(","));
    let head = "POST /store/chunks/present HTTP/1.1\r\nHost: x\r\nConnection: close";
    let answer = raw(&server, &format!("{head}\r\nContent-Length: {}\r\n\r\n{many}", many.len()));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn ranges_are_served() {
    let (_data, server) = server(|_| {});
    let part = content(5000, 1);
    client(&server).put_chunk(ChunkId::of(&part), &frame(&part)).unwrap();
    let length = frame(&part).len();
    let path = chunk_path(&part);
    let answer = get(&server, &path, "Range: bytes=1-4\r\n");
    assert!(answer.starts_with("HTTP/1.1 206"), "{answer}");
    assert!(answer.to_lowercase().contains(&format!("content-range: bytes 1-4/{length}")), "{answer}");
    assert!(answer.to_lowercase().contains("content-length: 4\r\n"), "{answer}");
    let behind = get(&server, &path, "Range: bytes=999999-\r\n");
    assert!(behind.starts_with("HTTP/1.1 416"), "{behind}");
    assert!(behind.to_lowercase().contains(&format!("content-range: bytes */{length}")), "{behind}");
    assert!(get(&server, &path, "Range: bytes=0-1,3-4\r\n").starts_with("HTTP/1.1 200"));
    let head = raw(&server, &format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.to_lowercase().contains(&format!("content-length: {length}\r\n")), "{head}");
}

#[test]
fn only_those_with_the_token_get_in() {
    let (_data, server) = server(|options| options.token = Some("right\n".to_owned()));
    for header in
        ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic right\r\n", "Authorization: right\r\n"]
    {
        for path in ["/store/remint-store.json", "/store/images/", "/store/nothing"] {
            let answer = get(&server, path, header);
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
            assert!(answer.contains("application/problem+json"), "{answer}");
        }
    }
    assert!(get(&server, "/healthz", "").starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/store/images/", "Authorization: Bearer right\r\n").starts_with("HTTP/1.1 200"));
    for token in [None, Some(Secret::new("wrong"))] {
        let error = open(&server.store_url(), &by(Access { token, ..access() })).err().unwrap();
        assert!(
            matches!(error, StoreError::Refused { .. }) && error.to_string().contains("token"),
            "{error}"
        );
    }
    let store =
        open(&server.store_url(), &by(Access { token: Some(Secret::new("right")), ..access() })).unwrap();
    capture(&*store, &version("1"), &Volume::new(1));
}

#[test]
fn a_password_in_a_url_is_neither_used_nor_shown() {
    let error = open("http://someone:secret@127.0.0.1:9/store", &quick()).err().unwrap();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("--token-file") && !error.to_string().contains("secret"), "{error}");
}

struct Authority {
    files: TlsFiles,
    ca: PathBuf,
    fingerprint: Fingerprint,
}

fn authority(directory: &Path) -> Authority {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(params, ca_key);
    let leaf =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    Authority {
        files: TlsFiles {
            certificate: write("cert.pem", leaf.pem()),
            key: write("key.pem", key.serialize_pem()),
        },
        ca: write("ca.pem", ca.pem()),
        fingerprint: Fingerprint::of(leaf.der()),
    }
}

#[test]
fn a_server_has_to_prove_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let Authority { files, ca, fingerprint } = authority(directory.path());
    let (_data, server) = server(|options| options.tls = Some(TlsChoice::Given(files.clone())));
    let url = server.store_url();
    assert!(url.starts_with("https://"));
    let with_ca = open(&url, &by(Access { ca: Some(ca.clone()), ..access() })).unwrap();
    capture(&*with_ca, &version("1"), &Volume::new(2));
    let colons =
        fingerprint.to_string().to_uppercase().as_bytes().chunks(2).fold(String::new(), |text, pair| {
            format!("{text}{}{}", if text.is_empty() { "" } else { ":" }, std::str::from_utf8(pair).unwrap())
        });
    let pinned = by(Access { fingerprint: Some(colons.parse().unwrap()), ..access() });
    assert_eq!(open(&url, &pinned).unwrap().images().unwrap().len(), 1);
    let wrong = Fingerprint::of(b"another certificate");
    for access in [access(), Access { fingerprint: Some(wrong), ca: Some(ca), ..access() }] {
        let begun = Instant::now();
        let error = open(&url, &by(access)).err().unwrap();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        let said = error.to_string();
        let words = ["its certificate is another one than the one to trust", "nobody who is trusted here"];
        assert!(said.contains("does not prove who it is: "), "{said}");
        assert!(words.iter().any(|words| said.contains(words)), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(1), "no other attempt can succeed");
    }
    let no_ca = by(Access { ca: Some(files.key), ..access() });
    assert!(matches!(open(&url, &no_ca), Err(StoreError::Refused { .. })));
    assert!("xy".parse::<Fingerprint>().is_err());
}

/// A server of one answer per connection, in order; the last one for ever.
fn scripted(answers: Vec<&'static [u8]>) -> String {
    let listener = TcpListener::bind(local()).unwrap();
    let url = format!("http://{}/store", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { break };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let _ = stream.write_all(answers[number.min(answers.len() - 1)]);
        }
    });
    url
}

const STORE_FILE: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 63\r\n\r\n{\"format\":\"remint-store\",\"format_version\":1,\"digest\":\"sha-256\"}";
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_fails_for_a_moment_is_tried_again() {
    let half = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nfra";
    let whole = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nframe";
    let url = scripted(vec![BUSY, b"", STORE_FILE, b"", half, BUSY, whole]);
    let options = by(Access { retry_for: Duration::from_secs(20), ..Access::default() });
    let store = open(&url, &options).unwrap();
    assert_eq!(store.get_chunk(ChunkId::of(b"x"), 100).unwrap(), b"frame");
}

#[test]
fn a_server_that_is_gone_is_an_error_that_names_it() {
    let (_data, server) = server(|_| {});
    let store = client(&server);
    let address = server.address();
    server.stop().unwrap();
    let begun = Instant::now();
    let error = store.get_chunk(ChunkId::of(b"x"), 100).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("refused"), "{cause}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let error = open(&scripted(vec![BUSY]), &quick()).err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_full_disk_is_not_tried_again() {
    let full = b"HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let store = open(&scripted(vec![STORE_FILE, full]), &OpenOptions::default()).unwrap();
    match store.put_chunk(ChunkId::of(b"x"), b"frame").unwrap_err() {
        StoreError::Io { source, .. } => assert_eq!(source.kind(), std::io::ErrorKind::StorageFull),
        other => panic!("{other}"),
    }
}

#[test]
fn a_publication_whose_answer_was_lost_counts() {
    let conflict = b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let manifest = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\nmanifest";
    let store = open(&scripted(vec![STORE_FILE, b"", conflict, manifest]), &quick()).unwrap();
    store.publish(&version("1"), b"manifest").unwrap();
    let store = open(&scripted(vec![STORE_FILE, b"", conflict, manifest]), &quick()).unwrap();
    assert!(matches!(store.publish(&version("1"), b"another one"), Err(StoreError::Refused { .. })));
}

/// nginx, Apache and `python3 -m http.server` serve files and nothing else.
#[test]
fn a_server_of_files_is_enough_to_deploy_from() {
    let (root, directory) = store_fixture::directory();
    capture(&directory, &version("1"), &Volume::new(2));
    let url = file_server(root.path().to_owned());
    let store = open(&url, &quick()).unwrap();
    let part = &Volume::new(2).parts[0];
    assert_eq!(store.get_chunk(ChunkId::of(part), MAX_FRAME_BYTES).unwrap(), frame(part));
    assert!(store.get_file(&version("1"), layout::MANIFEST_FILE, 1 << 20).is_ok());
    assert!(matches!(
        store.get_file(&version("2"), layout::MANIFEST_FILE, 1),
        Err(StoreError::NotFound { .. })
    ));
    for error in [store.images().err().unwrap(), store.versions(&"debian".parse().unwrap()).err().unwrap()] {
        assert!(
            matches!(error, StoreError::Refused { .. }) && error.to_string().contains("IMAGE@VERSION"),
            "{error}"
        );
    }
    let error = store.begin_capture(&version("2")).unwrap_err();
    assert!(
        matches!(error, StoreError::Refused { .. }) && error.to_string().contains("only serves files"),
        "{error}"
    );
}

fn file_server(root: PathBuf) -> String {
    let listener = TcpListener::bind(local()).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let mut words = line.split(' ');
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let path = root.join(path.trim_start_matches('/'));
            let (status, body) = match (method, fs::read(&path)) {
                ("GET", Ok(bytes)) => ("200 OK", bytes),
                ("GET", Err(_)) if path.is_dir() => ("200 OK", b"<html>a list</html>".to_vec()),
                ("GET", Err(_)) => ("404 Not Found", Vec::new()),
                _ => ("501 Unsupported method", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}
