//! Where bindings are when the box is not: a store that outlives it, and that other boxes may share.
//!
//! ```text
//! worker ─ a change ─► write_behind ──► Store ──► SQLite: one box
//!    ▲                                  │  ▲      Redis: several
//!    └─ load at a start, find, watch ◄──┘  └─ other boxes
//! ```
//!
//! A worker owns its bindings and answers out of its memory. What is written here follows the answer
//! by less than a second, and is read at a start, for a user whom the box does not know, and where
//! another box has written. Nothing here makes control's thread wait.

pub mod load;
pub mod record;
pub mod redis;
pub mod sqlite;
pub mod store;
pub mod write_behind;

pub use record::Change;
pub use record::Key;
pub use record::Record;
pub use record::Removal;
pub use store::Heard;
pub use store::Store;
pub use store::Unavailable;
pub use write_behind::WriteBehind;
