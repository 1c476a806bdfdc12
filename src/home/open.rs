//! Opening a home: where it is, whether it may be used, and a clear sentence when it may not.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};
use tokio::time::timeout;

use crate::db::Conn;
use crate::objects::{Folder, Table};
use crate::read::Pool;
use crate::session::Place;
use crate::sqlite::{self, Readers, Use};
use crate::trouble::{Trouble, code, sqlite_code};
use crate::turnstile::Turnstile;
use crate::{Engine, Home, migrate};

/// Connections that read, of one process.
const SQLITE_READERS: u32 = 4;
const POSTGRES_READERS: u32 = 8;
const CONNECT: Duration = Duration::from_secs(5);
/// Prepared statements of a connection.
const STATEMENTS: usize = 512;

/// Why a home cannot be opened: one sentence, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("“{0}” names no home: use sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE")]
    Url(String),
    #[error(
        "the home {path} is on a network file system ({kind}), where SQLite loses data: use a local disk, or PostgreSQL"
    )]
    Network { path: PathBuf, kind: &'static str },
    #[error("{0} is not a SQLite database: name another file, or move it away")]
    NotADatabase(PathBuf),
    #[error("the home {0} cannot be written: give this user the right to write the file and its folder")]
    ReadOnly(PathBuf),
    #[error("the disk of the home {0} is full: make room on it")]
    Full(PathBuf),
    #[error("the folder of the home {path} cannot be used ({source}): create it, or name another one")]
    Folder { path: PathBuf, source: io::Error },
    #[error("no database server answers at {address} ({why}): start it, or correct the address")]
    Refused { address: String, why: String },
    #[error(
        "the database server at {address} does not serve now ({why}): it may be about to end or to begin, full, or a standby"
    )]
    NotNow { address: String, why: String },
    #[error(
        "the database server at {address} refuses the user “{user}” ({why}): correct the user name or the password"
    )]
    Password { address: String, user: String, why: String },
    #[error("the database server at {address} has no database “{database}”: create it, or name another one")]
    NoDatabase { address: String, database: String },
    #[error(transparent)]
    Level(#[from] model::level::LevelTooHigh),
    #[error("migration {number} of the home is not the one that this version has: use a released version")]
    Changed { number: i64 },
    #[error(
        "the schema of the home can't be expanded because others use it ({0}): end what reads it for long, a backup perhaps"
    )]
    Busy(#[source] sqlx::Error),
    #[error("the database says: {0}")]
    Database(#[source] sqlx::Error),
}

impl OpenError {
    /// Whether to wait and to try again may help: nothing has to be corrected here.
    pub fn passing(&self) -> bool {
        matches!(self, OpenError::Refused { .. } | OpenError::NotNow { .. })
    }

    /// Whether another user, password or database at the same server would help.
    pub fn to_be_mended(&self) -> bool {
        matches!(self, OpenError::Password { .. } | OpenError::NoDatabase { .. })
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> OpenError {
        OpenError::Database(error)
    }
}

/// Opens the home at `url` (`sqlite:PATH` or `postgres://…`), creating or expanding its schema. Beside SQLite, objects go to the
/// folder `objects` in `home_dir`, or next to the file; PostgreSQL keeps them itself.
pub async fn open(url: &str, home_dir: Option<&Path>) -> Result<Home, OpenError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(OpenError::Url(url.to_owned()));
        }
        return open_sqlite(Path::new(path), home_dir).await;
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return open_postgres(postgres_options(url)?).await;
    }
    Err(OpenError::Url(url.to_owned()))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

async fn open_sqlite(path: &Path, home_dir: Option<&Path>) -> Result<Home, OpenError> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let unusable = |source| OpenError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(|e| folder_error(folder, e))?;
    if let Some(kind) = network(folder).map_err(unusable)? {
        return Err(OpenError::Network { path: path.to_owned(), kind });
    }
    let mut turnstile = Turnstile::open(path).map_err(|e| folder_error(path, e))?;
    turnstile.take().await.map_err(unusable)?;
    let made = make_sqlite(path).await;
    turnstile.leave();
    made.map_err(|e| sqlite_error(path, e))?;
    let readers = Readers::start(path, SQLITE_READERS).map_err(unusable)?;
    let objects_dir = home_dir.unwrap_or(folder).join("objects");
    let objects =
        Folder::open(&objects_dir).map_err(|source| OpenError::Folder { path: objects_dir, source })?;
    let place = Place::Sqlite { path: path.to_owned(), turnstile };
    Home::start(Engine::Sqlite, place, Pool::Sqlite(readers), Arc::new(objects)).map_err(unusable)
}

/// The file with its schema. The turnstile is held: changing the journal mode waits for nobody by itself.
async fn make_sqlite(path: &Path) -> Result<(), OpenError> {
    // Hashes of passwords and values of parameters are in it. SQLite makes its other files like this one, and says better why
    // it can't be made.
    let _said_later = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
    let mut conn = Conn::Sqlite(sqlite::connect(path, Use::Make)?);
    let migrated = migrate::migrate(&mut conn, now()).await;
    conn.close().await;
    migrated
}

fn folder_error(path: &Path, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly(path.to_owned())
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full(path.to_owned()),
        _ => OpenError::Folder { path: path.to_owned(), source: error },
    }
}

fn sqlite_error(path: &Path, error: OpenError) -> OpenError {
    let OpenError::Database(sqlx::Error::Database(database)) = &error else {
        return error;
    };
    match sqlite_code(database.as_ref()) {
        code::NOTADB | code::CORRUPT => OpenError::NotADatabase(path.to_owned()),
        code::READONLY | code::CANTOPEN => OpenError::ReadOnly(path.to_owned()),
        code::FULL => OpenError::Full(path.to_owned()),
        _ => error,
    }
}

/// The name of the network file system that `folder` is on.
fn network(folder: &Path) -> io::Result<Option<&'static str>> {
    const KINDS: [(u64, &str); 8] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x5346_414F, "AFS"),
        (0x00C3_6400, "Ceph"),
        (0x0BD0_0BD0, "Lustre"),
        (0x4750_4653, "GPFS"),
    ];
    let kind = rustix::fs::statfs(folder)?.f_type;
    // The kernel's number has 32 bits; a wider type may have extended its sign.
    let kind = u64::try_from(kind & 0xFFFF_FFFF).unwrap_or(0);
    Ok(KINDS.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name))
}

pub(crate) fn postgres_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    // The text may hold a password, so the error does not repeat it.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| OpenError::Url("the URL after postgres://".to_owned()))?;
    Ok(options.application_name("majordomo").statement_cache_capacity(STATEMENTS))
}

async fn open_postgres(options: PgConnectOptions) -> Result<Home, OpenError> {
    let mut conn = match timeout(CONNECT, options.connect()).await {
        Ok(Ok(conn)) => Conn::Postgres(conn),
        Ok(Err(error)) => return Err(postgres_error(&options, error)),
        Err(_) => {
            return Err(OpenError::Refused {
                address: address(&options),
                why: "it does not answer".to_owned(),
            });
        }
    };
    let migrated = migrate::migrate(&mut conn, now()).await;
    conn.close().await;
    migrated.map_err(|e| match e {
        OpenError::Database(error) => postgres_error(&options, error),
        other => other,
    })?;
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(POSTGRES_READERS)
        .min_connections(0)
        .acquire_timeout(CONNECT)
        .test_before_acquire(false)
        .connect_lazy_with(options.clone());
    let objects: Arc<dyn store::Objects> = Arc::new(Table::new(pool.clone()));
    let place = Place::Postgres { options: Arc::new(RwLock::new(options)) };
    Home::start(Engine::Postgres, place, Pool::Postgres(pool), objects)
        .map_err(|e| OpenError::Database(e.into()))
}

fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn postgres_error(options: &PgConnectOptions, error: sqlx::Error) -> OpenError {
    let address = address(options);
    match &error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            Some("28P01" | "28000") => OpenError::Password {
                address,
                user: options.get_username().to_owned(),
                why: database.message().to_owned(),
            },
            Some("3D000") => OpenError::NoDatabase {
                address,
                database: options.get_database().unwrap_or_else(|| options.get_username()).to_owned(),
            },
            _ => lost(address, error),
        },
        _ => lost(address, error),
    }
}

/// What passes is waited for: a server that ends or begins, one that is a standby for a moment, a connection that breaks.
fn lost(address: String, error: sqlx::Error) -> OpenError {
    match (Trouble::of(&error), &error) {
        (Trouble::Lost(_), sqlx::Error::Io(why)) => OpenError::Refused { address, why: why.to_string() },
        (Trouble::Lost(why), _) => OpenError::NotNow { address, why },
        _ => OpenError::Database(error),
    }
}
