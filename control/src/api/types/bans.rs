//! Sources that are not heard.

use serde::Deserialize;
use serde::Serialize;
use trunkline_dataplane::sip::guard::Source;

/// `GET /v1/bans`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bans {
    /// By source.
    pub bans: Vec<Ban>,
    /// False where a worker did not answer in time.
    pub complete: bool,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// An IPv4 address, or an IPv6 network.
    pub source: String,
    /// Seconds since it began.
    pub since_s: u32,
    /// Seconds until it ends.
    pub expires_in_s: u32,
    /// The failures to authenticate that led to it.
    pub failures: u16,
    /// Datagrams dropped since it began.
    pub dropped: u64,
}

impl Ban {
    /// What a source is called.
    #[must_use]
    pub fn name_of(source: Source) -> String {
        let (address, len) = source.network();
        match address.is_ipv4() {
            true => address.to_string(),
            false => format!("{address}/{len}"),
        }
    }
}

/// `DELETE /v1/bans/{address}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pardoned {
    /// Who is heard again.
    pub source: String,
}
