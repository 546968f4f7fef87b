//! `trunkctl bans`: who is not heard, and who is to be heard again.

use std::net::IpAddr;
use std::path::Path;

use clap::Subcommand;

use super::Failure;
use super::client;
use super::pretty;
use crate::api::types;

#[derive(Debug, Subcommand)]
pub(super) enum BansCommand {
    /// Has an address be heard again
    Remove {
        /// The address; of IPv6 any of the banned network
        address: IpAddr,
    },
}

pub(super) async fn remove(socket: &Path, address: IpAddr, json: bool) -> Result<String, Failure> {
    let pardoned: types::Pardoned = client::delete(socket, &format!("/v1/bans/{address}")).await?;
    Ok(match json {
        true => pretty(&pardoned),
        false => format!("{} is heard again\n", pardoned.source),
    })
}
