//! The store on SQLite and PostgreSQL, objects on object_store.
//!
//! [`open`] gives a [`Home`], which is the whole of `store::Store`. Writes go through one task that commits in groups
//! (`writer`), applied by `apply`; reads go through a small pool (`read`). The SQL is one text for both engines; what
//! differs is in `db`, `session`, `trouble`, `open` and the migrations. Nothing is decided here.

mod apply;
mod db;
mod durability;
mod metrics;
mod migrate;
mod objects;
mod open;
mod read;
mod session;
mod sqlite;
mod stats;
mod trouble;
mod turnstile;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use model::overview::Durability;
use parking_lot::{Mutex, RwLock};
use sqlx::postgres::PgConnectOptions;
use store::{Answer, Objects, Store, Write, Writer};
use tokio::sync::watch;

pub use metrics::Metrics;
pub use objects::{Marker, ObjectsUrl, ObjectsUrlError, Place as ObjectsPlace, PlaceError};
pub use open::{OpenError, open};
pub use stats::{GROUP_BOUNDS, Snapshot, Stats};

use read::Pool;
use session::{Place, Session};

/// Which engine keeps a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// An open home; clones are the same one. The writer ends when the last clone is gone, or at [`Home::close`].
#[derive(Clone)]
pub struct Home {
    engine: Engine,
    writer: writer::Handle,
    pool: Arc<Pool>,
    objects: Arc<dyn Objects>,
    archives: Arc<read::Archives>,
    stats: Arc<Stats>,
    /// Of PostgreSQL: how new connections of the writer are made.
    login: Option<Arc<RwLock<PgConnectOptions>>>,
    /// What was said last of how safe a commit is.
    told: Arc<Mutex<Option<(Instant, Durability)>>>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

/// Tells when it is dropped, however that comes.
struct Ended(watch::Sender<bool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Home {
    fn start(engine: Engine, place: Place, pool: Pool, objects: Arc<dyn Objects>) -> io::Result<Home> {
        let stats = Arc::new(Stats::default());
        let login = match &place {
            Place::Postgres { options } => Some(Arc::clone(options)),
            Place::Sqlite { .. } => None,
        };
        let (writer, service) = writer::new(Session::new(place), Arc::clone(&stats));
        let (stop, stopped) = watch::channel(false);
        // The home is the supervisor of its writer: it ends with the home, and never by an error.
        let (tell, ended) = watch::channel(false);
        let running = async move {
            let _tells = Ended(tell);
            service.run(stopped).await;
        };
        match engine {
            Engine::Postgres => drop(tokio::spawn(running)),
            Engine::Sqlite => {
                // Its statements block: it has a thread, and the clock of a runtime, for itself.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
                std::thread::Builder::new()
                    .name("writer".to_owned())
                    .spawn(move || runtime.block_on(running))?;
            }
        }
        let archives = Arc::default();
        Ok(Home {
            engine,
            writer,
            pool: Arc::new(pool),
            objects,
            archives,
            stats,
            login,
            told: Arc::default(),
            stop,
            ended,
        })
    }

    /// Waits until nothing is written any more: the home was closed, or its writer met a bug of ours. Then every write is
    /// refused, and only another process can help.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _gone = ended.wait_for(|ended| *ended).await;
    }

    /// New connections are made with this URL, which is of the same database: the password has changed. Those that are there
    /// stay.
    pub fn log_in_as(&self, url: &str) -> Result<(), OpenError> {
        if let (Some(login), Pool::Postgres(pool)) = (&self.login, &*self.pool) {
            let options = open::postgres_options(url)?;
            *login.write() = options.clone();
            pool.set_connect_options(options);
        }
        Ok(())
    }

    /// The same home, whose objects are in `place`.
    pub fn with_objects_in(self, place: &ObjectsPlace) -> Home {
        Home { objects: place.objects(), ..self }
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What the writer did so far.
    pub fn stats(&self) -> Snapshot {
        self.stats.snapshot()
    }

    /// The same, for Prometheus.
    pub fn metrics(&self) -> &Metrics {
        &self.stats.metrics
    }

    /// Writes what is queued, then gives the connections back. Later calls are refused as unavailable.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        self.ended().await;
        self.pool.close().await;
    }
}

#[async_trait::async_trait]
impl Writer for Home {
    async fn write(&self, write: Write) -> store::Result<Answer> {
        self.writer.write(write).await
    }
}

impl Store for Home {
    fn objects(&self) -> Arc<dyn Objects> {
        Arc::clone(&self.objects)
    }
}
