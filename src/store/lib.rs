//! What can be read and written.
