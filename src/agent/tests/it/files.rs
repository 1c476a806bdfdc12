//! Ops with files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use remoting::ops::{CREDIT, Command, FileSet, OpRequest, OpResult, Report};
use tar::{Builder, EntryType, Header};

use crate::process::Agent;
use crate::support::{Controller, Link, all_files, build, fence};

async fn begin() -> (Controller, Agent, Link) {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    fs::create_dir_all(agent.workspace()).unwrap();
    (controller, agent, link)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn a_file_is_written_as_a_whole_and_read_back() {
    let (_controller, agent, mut link) = begin().await;
    let dir = text(&agent.workspace());
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    let write = |path: &str| OpRequest::Write { dir: dir.clone(), path: path.into() };
    assert_eq!(link.put(build(1), fence(1), 1, write("a/b/c"), &content).await, OpResult::Done);
    let read = |path: &str, max| OpRequest::Read { dir: dir.clone(), path: path.into(), max };
    let (got, result) = link.op(build(1), fence(1), 2, read("a/b/c", 3_000_000)).await;
    assert!(got == content);
    assert_eq!(result, OpResult::Done);
    let (_, result) = link.op(build(1), fence(1), 3, read("a/b/c", 2_999_999)).await;
    assert!(
        matches!(&result, OpResult::Failed(why) if why.contains("larger than 2999999 bytes")),
        "{result:?}"
    );
    let (_, result) = link.op(build(1), fence(1), 4, read("nope", 9)).await;
    assert_eq!(result, OpResult::NoSuchFile(format!("{dir}/nope")));
    assert_eq!(link.put(build(1), fence(1), 5, write("empty"), b"").await, OpResult::Done);
    assert_eq!(fs::read(agent.workspace().join("empty")).unwrap(), b"");
    let exists = |path: &str| OpRequest::Exists { dir: dir.clone(), path: path.into() };
    assert_eq!(link.op(build(1), fence(1), 6, exists("a/b")).await.1, OpResult::Flag(true));
    assert_eq!(link.op(build(1), fence(1), 7, exists("/no/where")).await.1, OpResult::Flag(false));
}

#[tokio::test]
async fn writing_keeps_permissions_and_goes_through_links() {
    let (_controller, agent, mut link) = begin().await;
    let dir = agent.workspace();
    fs::write(dir.join("run"), "old").unwrap();
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run", dir.join("link")).unwrap();
    let write = OpRequest::Write { dir: text(&dir), path: "link".into() };
    assert_eq!(link.put(build(1), fence(1), 1, write, b"new").await, OpResult::Done);
    assert_eq!(fs::read(dir.join("run")).unwrap(), b"new");
    assert_eq!(fs::metadata(dir.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(fs::symlink_metadata(dir.join("link")).unwrap().is_symlink());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing temporary is left");
}

#[tokio::test]
async fn a_cancelled_or_fenced_write_leaves_the_file_as_it_was() {
    let (_controller, agent, mut link) = begin().await;
    let dir = agent.workspace();
    fs::write(dir.join("f"), "old").unwrap();
    let write = || Box::new(OpRequest::Write { dir: text(&dir), path: "f".into() });
    let piece = |op| Command::OpData { op, offset: 0, last: false, bytes: "half".into() };
    link.tell(build(1), fence(1), Command::Op { op: 1, request: write() }).await;
    link.tell(build(1), fence(1), piece(1)).await;
    link.tell(build(1), fence(1), Command::OpCancel { op: 1 }).await;
    link.tell(build(1), fence(1), Command::Op { op: 2, request: write() }).await;
    link.tell(build(1), fence(1), piece(2)).await;
    // The new owner's claim is answered when the old one's ops have ended.
    link.claim(build(1), fence(2)).await;
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"old");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[tokio::test]
async fn deleting_a_folder_does_not_follow_links() {
    let (_controller, agent, mut link) = begin().await;
    let outside = agent.work_dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "").unwrap();
    let dir = agent.workspace();
    fs::create_dir_all(dir.join("a/b")).unwrap();
    symlink(&outside, dir.join("a/link")).unwrap();
    fs::set_permissions(dir.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
    let delete = || OpRequest::DeleteDir { dir: text(&dir) };
    assert_eq!(link.op(build(1), fence(1), 1, delete()).await.1, OpResult::Done);
    assert!(!dir.exists() && outside.join("precious").exists());
    assert_eq!(link.op(build(1), fence(1), 2, delete()).await.1, OpResult::Done);
}

#[tokio::test]
async fn files_are_listed_sorted_with_sizes_and_links_only_when_they_stay_inside() {
    let (_controller, agent, mut link) = begin().await;
    let dir = agent.workspace();
    for (name, content) in [("b/x.txt", "1"), ("b.txt", "22"), ("a/é.txt", "333"), (".git/config", "4")] {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), content).unwrap();
    }
    symlink("b.txt", dir.join("in.txt")).unwrap();
    symlink("/etc/passwd", dir.join("out.txt")).unwrap();
    symlink(".", dir.join("loop")).unwrap();
    let glob = |includes: &str, dir: &Path| OpRequest::Glob {
        dir: text(dir),
        files: FileSet { includes: includes.into(), ..all_files() },
    };
    let (got, result) = link.op(build(1), fence(1), 1, glob("**/*.txt", &dir)).await;
    let listed = "[\"a/é.txt\",3]\n[\"b.txt\",2]\n[\"b/x.txt\",1]\n[\"in.txt\",2]\n";
    assert_eq!(String::from_utf8(got).unwrap(), listed);
    assert_eq!(result, OpResult::Count { files: 4, bytes: 8 });
    let (_, result) = link.op(build(1), fence(1), 2, glob("", &dir.join("none"))).await;
    assert_eq!(result, OpResult::Count { files: 0, bytes: 0 }, "nothing has run in that workspace yet");
}

#[tokio::test]
async fn what_is_packed_is_unpacked_as_it_was() {
    let (_controller, agent, mut link) = begin().await;
    let dir = agent.workspace();
    let long = "long/".repeat(40) + "name";
    fs::create_dir_all(dir.join(&long).parent().unwrap()).unwrap();
    fs::write(dir.join(&long), "deep").unwrap();
    let noise: Vec<u8> =
        (0..2_000_000u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    fs::write(dir.join("noise"), &noise).unwrap();
    fs::set_permissions(dir.join("noise"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("noise", dir.join("link")).unwrap();
    let pack = OpRequest::Pack { dir: text(&dir), files: all_files() };
    let (tar, result) = link.op(build(1), fence(1), 1, pack).await;
    assert_eq!(result, OpResult::Count { files: 3, bytes: 2_000_004 });
    let to = agent.work_dir().join("other");
    let unpack = || OpRequest::Unpack { dir: text(&to) };
    // Twice: what is there is replaced.
    for op in [2, 3] {
        let result = link.put(build(1), fence(1), op, unpack(), &tar).await;
        assert_eq!(result, OpResult::Count { files: 3, bytes: 2_000_004 });
    }
    assert!(fs::read(to.join("noise")).unwrap() == noise);
    assert_eq!(fs::metadata(to.join("noise")).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("noise"));
    assert_eq!(fs::read(to.join(&long)).unwrap(), b"deep");
    let cut = link.put(build(1), fence(1), 4, unpack(), &tar[..tar.len() / 2]).await;
    assert!(matches!(cut, OpResult::Failed(_)), "{cut:?}");
}

/// An entry of an archive, with no checks of its name.
fn entry(name: &str, kind: EntryType, link: &str, content: &str) -> (Header, Vec<u8>) {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    (header, content.as_bytes().to_vec())
}

fn archive(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (header, content) in entries {
        builder.append(header, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn an_archive_that_wants_out_is_refused() {
    use EntryType::{Char, Fifo, Link as Hard, Regular, Symlink};
    let (_controller, agent, mut link) = begin().await;
    let outside = agent.work_dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "safe").unwrap();
    symlink(&outside, agent.workspace().join("old")).unwrap();
    let file = |name: &str| entry(name, Regular, "", "evil");
    let to = |name: &str, target: &str| entry(name, Symlink, target, "");
    let escape = [to("e/f/g/up", "../../.."), to("x", "e/f/g/up/.."), file("x/outside/f")];
    let late = [to("y", "k/l/m/up/.."), to("k/l/m/up", "../../.."), file("y/outside/f")];
    let cases: Vec<(&str, Vec<_>)> = vec![
        ("“..” in its name", vec![file("../outside/f")]),
        ("“..” in its name", vec![file("a/../../outside/f")]),
        ("an absolute name", vec![file("/tmp/evil")]),
        ("points outside", vec![to("l", "../outside"), file("l/f")]),
        ("points outside", vec![to("l", "/etc"), file("l/f")]),
        ("points outside", escape.to_vec()),
        ("through a link", late.to_vec()),
        ("through a link", vec![file("old/f")]),
        ("“..” in its name", vec![entry("h", Hard, "../outside/f", "")]),
        ("through a link", vec![entry("h", Hard, "old/f", "")]),
        ("neither file, folder nor link", vec![entry("p", Fifo, "", "")]),
        ("neither file, folder nor link", vec![entry("c", Char, "", "")]),
    ];
    for (n, (why, entries)) in cases.into_iter().enumerate() {
        let unpack = OpRequest::Unpack { dir: text(&agent.workspace()) };
        let result = link.put(build(1), fence(1), n as u64, unpack, &archive(&entries)).await;
        assert!(matches!(&result, OpResult::Failed(text) if text.contains(why)), "{n} {why}: {result:?}");
        assert_eq!(fs::read(outside.join("f")).unwrap(), b"safe");
    }
    let through = [to("in", "sub"), entry("sub/", EntryType::Directory, "", ""), file("in/f")];
    let unpack = OpRequest::Unpack { dir: text(&agent.workspace()) };
    let result = link.put(build(1), fence(1), 99, unpack, &archive(&through)).await;
    assert_eq!(result, OpResult::Count { files: 2, bytes: 4 });
}

#[tokio::test]
async fn a_claim_does_not_wait_for_content_that_nobody_takes() {
    let (_controller, agent, mut link) = begin().await;
    let dir = text(&agent.workspace());
    fs::write(agent.workspace().join("long"), vec![b'x'; CREDIT as usize + 10_000]).unwrap();
    let request = Box::new(OpRequest::Read { dir, path: "long".into(), max: u64::MAX });
    link.tell(build(1), fence(1), Command::Op { op: 1, request }).await;
    // All that was allowed has come: the thread has ended, and the rest waits.
    let mut received = 0;
    while received < CREDIT {
        if let Report::OpData { bytes, .. } = link.report().await.report {
            received += bytes.len() as u64;
        }
    }
    assert!(link.claim(build(1), fence(2)).await.is_empty());
}
