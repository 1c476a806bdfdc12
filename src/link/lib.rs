//! Sessions with agents, wherever their link is.
