//! The figures for Prometheus, and the reference of all that is counted.
//!
//! Names, units and help texts come from the tables in which the counters are defined:
//! `names` makes metrics of them, `text` the answer to a scrape, and `reference` the list
//! in the manual. Nothing is counted here; a scrape reads what the workers publish.

pub mod names;
pub mod reference;
pub mod scrape;
pub mod server;
mod text;
