//! Workers and their frames.

use serde::Deserialize;
use serde::Serialize;

use super::WorkerStatus;

/// `GET /v1/workers`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workers {
    /// Every worker.
    pub workers: Vec<WorkerDetail>,
}

/// A worker and what it has been doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerDetail {
    /// What `GET /v1/status` says of it.
    #[serde(flatten)]
    pub status: WorkerStatus,
    /// Turns of its loop in the last second; none before there was one.
    pub turns_per_s: Option<f64>,
    /// Times it went to sleep in the last second; none before there was one.
    pub sleeps_per_s: Option<f64>,
    /// SIP messages that other workers handed to it.
    pub mail_in: u64,
    /// SIP messages that it handed to other workers.
    pub mail_out: u64,
    /// SIP messages that came through the kernel's sockets.
    pub kernel_in: u64,
    /// Seconds since it was last seen to turn.
    pub turned_s_ago: f64,
}

/// `GET /v1/frames`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// By worker.
    pub workers: Vec<WorkerFrames>,
}

/// Where a worker's frames are, and what became of all that came in and was to go out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFrames {
    /// The worker.
    pub worker: u8,
    /// Its frames.
    pub ledger: Ledger,
    /// What came in: `sum` is Σ `by`.
    pub came_in: Parts,
    /// How it ended.
    pub ended: Parts,
    /// `came_in` less `ended`: 0 is exact.
    pub in_difference: i64,
    /// SIP messages that were to be sent.
    pub to_send: u64,
    /// What became of them.
    pub disposed: Parts,
    /// `to_send` less `disposed`: 0 is exact.
    pub out_difference: i64,
}

/// Where frames are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// All there are.
    pub total: u64,
    /// In the pool.
    pub free: u64,
    /// With the kernel, to receive into.
    pub fill: u64,
    /// In the worker's hands.
    pub held: u64,
    /// Received, and waiting for the worker.
    pub rx: u64,
    /// With the kernel, to be sent.
    pub tx: u64,
    /// Sent, and waiting for the worker.
    pub completion: u64,
    /// `total` less all the others: 0 is exact.
    pub difference: i64,
}

/// A sum and its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The sum.
    pub sum: u64,
    /// The parts, by name.
    pub by: Vec<Part>,
}

/// One part of a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How many.
    pub count: u64,
}
