//! Objects in a bucket that is none, refuses, is away, or is another's.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use home::{Marker, ObjectsPlace, ObjectsUrl, PlaceError};
use store::{Error, Objects, Store};
use tempfile::TempDir;

use crate::s3::{self, Server};
use crate::support::{open, sqlite_url};

fn place(url: &str) -> ObjectsPlace {
    ObjectsPlace::new(&ObjectsUrl::parse(url).unwrap(), s3::environment()).unwrap()
}

async fn server() -> Option<Server> {
    tokio::task::spawn_blocking(Server::start).await.unwrap()
}

/// What builds get to see.
async fn objects(place: &ObjectsPlace, dir: &TempDir) -> std::sync::Arc<dyn Objects> {
    open(&sqlite_url(dir.path())).await.with_objects_in(place).objects()
}

#[tokio::test]
async fn whatever_keeps_a_bucket_from_being_used_has_a_sentence_of_its_own() {
    let Some(server) = server().await else { return };
    let url = ObjectsUrl::parse(&server.url(s3::BUCKET, "p")).unwrap();
    // the address goes before what the environment says of one
    let elsewhere = ("AWS_ENDPOINT_URL_S3".to_owned(), "http://127.0.0.1:1".to_owned());
    let environment = s3::environment().into_iter().chain([elsewhere]);
    ObjectsPlace::new(&url, environment).unwrap().check("r-0").await.unwrap();

    let error = place(&server.url("none", "p")).check("r-0").await.unwrap_err();
    assert!(matches!(error, PlaceError::NoBucket { .. }), "{error}");
    assert!(error.to_string().starts_with("the object store s3://none/p at http://127.0.0.1:"), "{error}");

    let error = place(&server.url(s3::READ_ONLY, "p")).check("r-0").await.unwrap_err();
    assert!(matches!(error, PlaceError::Forbidden { what: "write", .. }), "{error}");
    assert!(error.to_be_mended() && !error.passing());

    let wrong = s3::environment().map(|(name, value)| (name, value.replace("test", "nobody")));
    let error = ObjectsPlace::new(&url, wrong).unwrap().check("r-0").await.unwrap_err();
    assert!(matches!(error, PlaceError::Credentials { .. }), "{error}");
    assert!(error.to_string().contains("InvalidAccessKeyId: The access key is not known here"), "{error}");
    assert!(!error.to_be_mended() && !error.passing(), "its environment stays as it is");
}

#[tokio::test]
async fn a_bucket_that_goes_away_later_is_said_by_name_and_loses_nothing() {
    let Some(server) = server().await else { return };
    let dir = TempDir::new().unwrap();
    let place = place(&server.url(s3::BUCKET, "p"));
    let objects = objects(&place, &dir).await;
    objects.put("a/b", Bytes::from_static(b"x")).await.unwrap();
    let mut upload = objects.upload("a/c").await.unwrap();
    upload.write(Bytes::from(vec![b'x'; 20_000_000])).await.unwrap();
    drop(server);
    let error = place.check("r-0").await.unwrap_err();
    assert!(error.passing(), "{error}");
    let away = |error: Error| {
        let known =
            matches!(&error, Error::Unavailable(why) if why.starts_with("the object store s3://objects/p"));
        assert!(known, "{error}");
    };
    away(objects.get("a/b", 0, 1).await.unwrap_err());
    away(objects.put("a/d", Bytes::new()).await.unwrap_err());
    away(objects.delete("a/b").await.unwrap_err());
    away(objects.keep_only("a", &[].into()).await.unwrap_err());
    away(upload.finish().await.unwrap_err());
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_comes_back_whole() {
    let Some(server) = server().await else { return };
    let dir = TempDir::new().unwrap();
    let objects = objects(&place(&server.url(s3::BUCKET, "p")), &dir).await;
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)]).collect();
    for piece in [5_000_000, 8 * 1024 * 1024, 20_000_000] {
        let mut upload = objects.upload("a").await.unwrap();
        for piece in bytes.chunks(piece) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        upload.finish().await.unwrap();
        let read = objects.get("a", 0, usize::MAX).await.unwrap().unwrap();
        assert!(read == bytes, "{} bytes", read.len());
    }
    let whole = Bytes::from(bytes);
    objects.put("b", whole.clone()).await.unwrap();
    assert_eq!(objects.get("b", 19_999_999, 9).await.unwrap(), Some(whole.slice(19_999_999..)));

    let mut dropped = objects.upload("c").await.unwrap();
    dropped.write(whole).await.unwrap();
    drop(dropped);
    assert_eq!(objects.get("c", 0, 1).await.unwrap(), None);
}

#[tokio::test]
async fn a_bucket_belongs_to_who_marks_it_first() {
    let Some(server) = server().await else { return };
    let place = place(&server.url(s3::BUCKET, "p"));
    assert_eq!(place.marker().await.unwrap(), None);
    let marker = |id: &str| Marker { id: id.to_owned(), controller: "ci/acme".to_owned() };
    place.mark(&marker("1")).await.unwrap();
    place.mark(&marker("2")).await.unwrap();
    assert_eq!(place.marker().await.unwrap(), Some(marker("1")));
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let place = place(&format!("s3://b/p?endpoint=http%3A%2F%2F127.0.0.1%3A{port}&path-style=true"));
    let dir = TempDir::new().unwrap();
    let objects = objects(&place, &dir).await;
    let begun = Instant::now();
    let error = objects.get("a", 0, 1).await.unwrap_err();
    assert!(error.passing() && error.to_string().contains("does not answer in time"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
