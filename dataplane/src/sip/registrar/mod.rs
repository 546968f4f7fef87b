//! The registrar of a worker (RFC 3261 §10.3): which contacts an address of record has.
//!
//! - [`aor`]: addresses of record in their canonical form
//! - [`escape`]: characters of URIs, escaped or not

pub mod aor;
mod escape;
