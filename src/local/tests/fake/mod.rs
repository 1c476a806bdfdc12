//! Stand-ins for a replica and an agent: they keep what `up` counts on, and nothing else.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::{Paths, ReplicaRecord};

fn value(arguments: &[String], flag: &str) -> PathBuf {
    let at = arguments.iter().position(|a| a == flag).unwrap();
    PathBuf::from(&arguments[at + 1])
}

pub(crate) fn replica(arguments: &[String]) {
    if std::env::var_os("FAKE_REFUSES").is_some() {
        eprintln!("majordomo: the database refuses");
        std::process::exit(2);
    }
    assert!(std::env::var("MAJORDOMO_STORE").is_ok());
    let paths = Paths::new(value(arguments, "--home"));
    let name = value(arguments, "--name").display().to_string();
    let public = local::inherited().unwrap().unwrap();
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap().to_string();
    let incarnation = i64::from(std::process::id());
    let record = ReplicaRecord { pid: std::process::id(), peer: address, incarnation };
    record.write(&paths.replica_record(&name)).unwrap();

    let (shared, socket) = (public.try_clone().unwrap(), paths.replica_socket(&name));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(local::share(&shared, &socket)).unwrap();
    });
    let told = paths.run().join(format!("{name}.told"));
    std::thread::spawn(move || serve(&peer, "ok", Some(&told)));
    serve(&public, &name, None);
}

/// Answers everything with `body`; posts are noted.
fn serve(listener: &TcpListener, body: &str, note: Option<&Path>) {
    loop {
        let Ok((mut stream, _)) = listener.accept() else {
            // the socket is shared, so somebody else may have been faster
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        let request = read_request(&mut stream);
        if let Some(note) = note.filter(|_| request.starts_with("POST")) {
            let mut file = OpenOptions::new().append(true).create(true).open(note).unwrap();
            file.write_all(request.as_bytes()).unwrap();
        }
        let length = body.len();
        let _ =
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    }
}

/// Head and body: small ones, which come in one or two pieces.
fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if text.starts_with("GET") || text.trim_end().ends_with('}') {
            break;
        }
    }
    text
}

pub(crate) fn agent(arguments: &[String]) {
    let secret = value(arguments, "-secret").display().to_string();
    assert_eq!(fs::read_to_string(secret.strip_prefix('@').unwrap()).unwrap().trim().len(), 64);
    let environment: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let folder = value(arguments, "-workDir");
    fs::write(folder.join("environment"), environment.join("\n")).unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Which replica answers there.
pub(crate) fn get(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.rsplit("\r\n").next().map(str::to_owned)
}
