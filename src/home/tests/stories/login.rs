//! A password of the database that changes while the home is open, and what the database says of itself.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use store::{Cluster, Writer};
use tokio::time::timeout;

use crate::postgres::Server;
use crate::support::{create, join, open};

#[tokio::test]
async fn a_new_password_is_taken_while_the_home_is_open() {
    let Some(server) = Server::start() else { return };
    server.sql("postgres", "CREATE ROLE ci LOGIN PASSWORD 'one'; ALTER ROLE postgres PASSWORD 'boss'");
    let url = server.database();
    let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    server.sql("postgres", &format!("ALTER DATABASE {database} OWNER TO ci"));
    server.require_passwords();
    let with = |login: &str| url.replace("postgres@", &format!("{login}@"));
    let home = open(&with("ci:one")).await;
    join(&home, "a").await;

    let mut boss = PgConnection::connect(&with("postgres:boss")).await.unwrap();
    sqlx::query("ALTER ROLE ci PASSWORD 'two'").execute(&mut boss).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ci'";
    sqlx::query(end).execute(&mut boss).await.unwrap();
    let refused = home::open(&with("ci:one"), None).await.map(drop).unwrap_err();
    assert!(refused.to_be_mended() && !refused.passing(), "{refused}");
    // nothing new is let in; what is asked for waits
    assert!(timeout(Duration::from_millis(500), home.members()).await.is_err());
    let (written, ()) = tokio::join!(home.write(create("app")), async {
        assert!(timeout(Duration::from_millis(500), home.members()).await.is_err());
        home.log_in_as(&with("ci:two")).unwrap();
    });
    written.unwrap();
    assert_eq!(home.members().await.unwrap().len(), 1);
    assert!(home.log_in_as("postgres://[").is_err(), "what is no URL changes nothing");
    assert_eq!(home.members().await.unwrap().len(), 1);
    home.close().await;
}

#[tokio::test]
async fn the_database_says_how_safe_a_commit_is() {
    let Some(server) = Server::start() else { return };
    let home = open(&server.database()).await;
    let told = home.durability().await;
    assert_eq!(told.engine, "postgres");
    assert_eq!((told.standbys, told.synchronous_replicas), (Some(0), Some(0)));
    assert_eq!(told.synchronous_commit.as_deref(), Some("on"));
    assert_eq!((told.fsync, told.synchronous_standby_names), (Some(false), Some(false)));
    assert_eq!(home.durability().await, told);
    home.close().await;

    let folder = tempfile::tempdir().unwrap();
    let home = open(&crate::support::sqlite_url(folder.path())).await;
    let told = home.durability().await;
    assert_eq!((told.engine.as_str(), told.standbys), ("sqlite", None));
    home.close().await;
}
