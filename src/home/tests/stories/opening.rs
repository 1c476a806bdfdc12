//! Opening: what is refused with which sentence, and that several may open at once.

use futures_util::future::join_all;
use sqlx::Connection;
use store::{Cluster, Writer};
use tempfile::TempDir;

use crate::postgres::Server;
use crate::support::{create, database, open, sqlite_url};

async fn sentence(url: &str) -> String {
    match home::open(url, None).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_names_no_home_is_refused() {
    for url in ["", "home.db", "sqlite:", "mysql://localhost/x"] {
        let sentence = sentence(url).await;
        assert!(sentence.contains("names no home: use sqlite:PATH or postgres://"), "{sentence}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = TempDir::new().unwrap();
    std::fs::write(
        dir.path().join("home.db"),
        "hello, this is a text and not a database at all\n".repeat(99),
    )
    .unwrap();
    let sentence = sentence(&sqlite_url(dir.path())).await;
    assert!(
        sentence.ends_with("home.db is not a SQLite database: name another file, or move it away"),
        "{sentence}"
    );
}

#[tokio::test]
async fn what_a_home_holds_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = open(&sqlite_url(dir.path())).await;
    home.write(create("a")).await.unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        found += 1;
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{entry:?}");
    }
    assert!(found >= 5, "the database, its log, what is shared of it, two of the turnstile: {found}");
    home.close().await;
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_refused() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let sentence = sentence(&sqlite_url(&dir.path().join("file"))).await;
    assert!(sentence.contains("cannot be used"), "{sentence}");
}

#[tokio::test]
async fn a_home_of_a_newer_level_is_refused_and_one_expanded_by_a_newer_version_is_not() {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    open(&url).await.close().await;
    let conn = rusqlite::Connection::open(dir.path().join("home.db")).unwrap();
    for sql in
        ["INSERT INTO migration VALUES (999, 'later', 'x', 0)", "ALTER TABLE meta ADD COLUMN later TEXT"]
    {
        conn.execute_batch(sql).unwrap();
    }
    open(&url).await.close().await;
    conn.execute_batch("UPDATE meta SET level = 99").unwrap();
    let sentence = sentence(&url).await;
    assert!(
        sentence.starts_with("the home is at level 99 and this version knows 1 only: use a version"),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_expands_the_schema_lets_others_go_on_and_tries_again() {
    let Some(url) = database().await else { return };
    open(&url).await.close().await;
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 FROM migration WHERE number = 0 FOR UPDATE")
        .execute(&mut other)
        .await
        .unwrap();
    let opening = tokio::spawn({
        let url = url.clone();
        async move { home::open(&url, None).await.map(drop) }
    });
    let gave_way = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name = 'majordomo' AND query = 'ROLLBACK'";
    let mut looks = sqlx::PgConnection::connect(&url).await.unwrap();
    while sqlx::query_scalar::<_, i64>(gave_way).fetch_one(&mut looks).await.unwrap() == 0 {
        assert!(!opening.is_finished());
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_refuses_is_told_in_a_sentence() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = sentence(&format!("postgres://u:secret@127.0.0.1:{nobody}/x?sslmode=disable")).await;
    assert!(refused.starts_with(&format!("no database server answers at 127.0.0.1:{nobody}")), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
    let Some(url) = database().await else { return };
    let (server, _) = url.rsplit_once('/').unwrap();
    let none = sentence(&format!("{server}/nothing?sslmode=disable")).await;
    assert!(none.ends_with("has no database “nothing”: create it, or name another one"), "{none}");
}

#[tokio::test]
async fn a_server_that_is_a_standby_for_a_moment_is_waited_for() {
    let Some(url) = database().await else { return };
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}options[default_transaction_read_only]=on");
    let Err(error) = home::open(&url, None).await else { panic!("{url} was opened") };
    assert!(error.passing(), "{error}");
    let said = error.to_string();
    assert!(said.contains("does not serve now (cannot execute CREATE TABLE in a read-only"), "{said}");
}

#[tokio::test]
async fn a_wrong_password_is_told_in_a_sentence() {
    let Some(server) = Server::start() else { return };
    server.sql("postgres", "CREATE USER u PASSWORD 'right'");
    server.require_passwords();
    let url = format!("postgres://u:wrong@127.0.0.1:{}/postgres?sslmode=disable", server.port());
    let wrong = sentence(&url).await;
    assert!(
        wrong.contains("refuses the user “u”") && wrong.contains("correct the user name or the password"),
        "{wrong}"
    );
    assert!(!wrong.contains("wrong@"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_make_a_home_at_once() {
    let dir = TempDir::new().unwrap();
    let mut urls = vec![sqlite_url(dir.path())];
    urls.extend(database().await);
    for url in urls {
        let homes = join_all((0..8).map(|_| open(&url))).await;
        for (n, home) in homes.iter().enumerate() {
            home.write(create(&format!("job-{n}"))).await.unwrap();
            assert_eq!(home.meta().await.unwrap().level, 1);
        }
    }
}

#[tokio::test]
async fn a_closed_home_refuses_and_leaves_no_connection() {
    let Some(url) = database().await else { return };
    let home = open(&url).await;
    home.write(create("a")).await.unwrap();
    home.close().await;
    assert_eq!(home.write(create("b")).await.unwrap_err().reason(), "Unavailable");
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'majordomo'";
    let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn postgresql_compresses_logs_and_journals_with_lz4_if_it_can() {
    let Some(url) = database().await else { return };
    open(&url).await.close().await;
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' \
               AND 'lz4' = ANY (enumvals)), (SELECT COUNT(*) FROM pg_attribute WHERE attname = 'body' \
               AND attcompression = 'l' AND attrelid IN ('log'::regclass, 'journal'::regclass))";
    let (can, compressed): (bool, i64) = sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(compressed, if can { 2 } else { 0 });
}
