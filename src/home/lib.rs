//! The store on SQLite and PostgreSQL, objects on object_store.
