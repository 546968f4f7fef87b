//! SIP.

mod report;

pub use report::CallReport;
pub use report::CallState;
pub use report::LegReport;
pub use report::ShortText;
