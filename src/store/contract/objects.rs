//! Large things by key.

use bytes::Bytes;

use crate::Objects;

fn text(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

pub async fn what_was_put_is_read_in_ranges<O: Objects>(objects: &O) {
    assert_eq!(objects.get("a/b-1/c_2.txt", 0, 10).await.unwrap(), None);
    objects.put("a/b-1/c_2.txt", text("0123456789")).await.unwrap();
    for (from, max, expected) in [
        (0, 100, "0123456789"),
        (0, 4, "0123"),
        (4, 3, "456"),
        (8, 9, "89"),
        (10, 5, ""),
        (99, 5, ""),
        (3, 0, ""),
    ] {
        let read = objects.get("a/b-1/c_2.txt", from, max).await.unwrap();
        assert_eq!(read, Some(text(expected)), "{max} bytes from {from} on");
    }
    objects.put("empty", Bytes::new()).await.unwrap();
    assert_eq!(objects.get("empty", 0, 10).await.unwrap(), Some(Bytes::new()));
}

pub async fn an_object_is_replaced_whole<O: Objects>(objects: &O) {
    objects.put("k", text("long text")).await.unwrap();
    objects.put("k", text("new")).await.unwrap();
    assert_eq!(objects.get("k", 0, 100).await.unwrap(), Some(text("new")));
}

pub async fn an_upload_exists_once_it_is_finished<O: Objects>(objects: &O) {
    objects.put("k", text("old")).await.unwrap();
    let mut upload = objects.upload("k").await.unwrap();
    let piece = Bytes::from(vec![b'x'; 700_000]);
    for _ in 0..10 {
        upload.write(piece.clone()).await.unwrap();
    }
    upload.write(text("end")).await.unwrap();
    assert_eq!(objects.get("k", 0, 10).await.unwrap(), Some(text("old")));
    upload.finish().await.unwrap();
    assert_eq!(objects.get("k", 6_999_999, 100).await.unwrap(), Some(text("xend")));
    objects.upload("none").await.unwrap().finish().await.unwrap();
    assert_eq!(objects.get("none", 0, 10).await.unwrap(), Some(Bytes::new()));
}

pub async fn a_dropped_upload_leaves_nothing<O: Objects>(objects: &O) {
    let mut upload = objects.upload("k").await.unwrap();
    upload.write(text("half")).await.unwrap();
    drop(upload);
    assert_eq!(objects.get("k", 0, 10).await.unwrap(), None);
}

pub async fn a_deleted_object_is_gone<O: Objects>(objects: &O) {
    objects.put("a/b", text("x")).await.unwrap();
    objects.put("a/c", text("y")).await.unwrap();
    objects.delete("a/b").await.unwrap();
    objects.delete("a/b").await.unwrap();
    objects.delete("none").await.unwrap();
    assert_eq!(objects.get("a/b", 0, 10).await.unwrap(), None);
    assert_eq!(objects.get("a/c", 0, 10).await.unwrap(), Some(text("y")));
}

pub async fn a_key_out_of_bounds_is_refused<O: Objects>(objects: &O) {
    for key in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "ä", "a\\b", "a\0"] {
        assert_eq!(objects.put(key, text("x")).await.unwrap_err().reason(), "Conflict", "{key:?}");
        assert_eq!(objects.get(key, 0, 1).await.unwrap_err().reason(), "Conflict", "{key:?}");
        assert!(matches!(objects.upload(key).await, Err(e) if e.reason() == "Conflict"), "{key:?}");
    }
    objects.put("a..b/.c", text("x")).await.unwrap();
}

pub async fn only_what_is_kept_stays_below_a_prefix<O: Objects>(objects: &O) {
    for key in ["b/1/x/kept", "b/1/x/gone", "b/1/gone", "b/10/x", "b/1.txt"] {
        objects.put(key, text(key)).await.unwrap();
    }
    objects.keep_only("b/1", &["b/1/x/kept".to_owned()].into()).await.unwrap();
    for (key, there) in [
        ("b/1/x/kept", true),
        ("b/1/x/gone", false),
        ("b/1/gone", false),
        ("b/10/x", true),
        ("b/1.txt", true),
    ] {
        assert_eq!(objects.get(key, 0, 1).await.unwrap().is_some(), there, "{key}");
    }
    objects.keep_only("b/1", &[].into()).await.unwrap();
    assert_eq!(objects.get("b/1/x/kept", 0, 1).await.unwrap(), None);
    objects.keep_only("none", &[].into()).await.unwrap();
    assert!(objects.keep_only("../b", &[].into()).await.is_err());
    objects.put("b/1/again", text("x")).await.unwrap();
}
