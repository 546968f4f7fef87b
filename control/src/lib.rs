//! The daemon `trunklined` and the operator's `trunkctl`.
//!
//! Control does all that may wait: it reads the configuration, starts and stops the
//! workers, mirrors the kernel's links, routes and neighbours, and answers the
//! operator. It never stands in a packet's way.

pub mod api;
mod backoff;
pub mod cli;
pub mod config;
pub mod engine;
pub mod kernel;
pub mod location;
pub mod log;
pub mod metrics;
pub mod netlink;
mod notice;
mod percent;
pub mod privileges;
mod redis_link;
mod service;
mod sqlite;
pub mod start;
pub mod subscribers;
