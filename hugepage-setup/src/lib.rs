//! Prepares a host for Trunkline, puts it back, and says what it can and cannot do.
//!
//! One stage a file in `stage/`. Each looks at the host (`facts`) and says what the facts
//! mean for what is [`wanted::Wanted`] (`judge`, pure): rows, and with a row the steps that
//! put it right. `check` and `doctor` show the rows, `apply` carries out the steps, `undo`
//! puts back what was found. So every judgement is tested without root and without the
//! hardware, and nothing is ever done that is not also shown.
//!
//! ```text
//!   stage ─► Row { found, wanted, state, steps: [(Setting, value)] }
//!                                                  │
//!            apply:  note in the state file ─► write ─► read again
//!            undo:   still as we set it? ─► write what was found
//! ```
//!
//! What cannot be seen (no root, another namespace, an older kernel) is said to
//! be so; it is never taken for right or wrong.

pub mod apply;
pub mod book;
pub mod change;
pub mod config;
mod cores;
pub mod ethtool;
pub mod host;
pub mod links;
pub mod netdev;
mod netlink;
mod private;
pub mod report;
pub mod row;
pub mod setting;
pub mod stage;
pub mod undo;
pub mod wanted;

use host::Host;
use report::Found;
use stage::Stage;
use stage::View;
use wanted::Wanted;

/// What the stages find, in the order in which a person would put things right.
pub fn examine(host: &Host, wanted: &Wanted, stages: &[Stage]) -> Vec<Found> {
    let view = View::new(host, wanted);
    let rows = |stage: &Stage| -> Vec<Found> {
        let rows = view.look(*stage).into_iter();
        rows.map(|row| (*stage, row)).collect()
    };
    stages.iter().flat_map(rows).collect()
}
