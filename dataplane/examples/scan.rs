//! Scans one INVITE many times, for an instruction count that does not depend on the
//! machine's mood:
//!
//! ```text
//! cargo build --release --example scan
//! valgrind --tool=callgrind --toggle-collect='scan::measured' target/release/examples/scan 1000
//! ```
//!
//! The count divided by the number of messages is what one message costs.

use std::hint::black_box;

use trunkline_dataplane::sip::message::Message;

/// As SIPp sends it, with an SDP body.
const INVITE: &[u8] = include_bytes!("../../fuzz/corpus/scan/invite");

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000);
    let scanned = measured(count);
    println!(
        "{scanned} of {count} messages of {} bytes scanned",
        INVITE.len()
    );
}

#[inline(never)]
fn measured(count: u32) -> u32 {
    let mut scanned = 0;
    for _ in 0..count {
        scanned += u32::from(black_box(Message::scan(black_box(INVITE))).is_ok());
    }
    scanned
}
