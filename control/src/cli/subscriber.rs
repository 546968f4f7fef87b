//! `trunkctl subscriber` and `trunkctl auth`: who is known by a password.
//!
//! A password becomes HA1s here and goes no further: not to the daemon, and not into a file.

mod file;
mod import;
mod secret;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::HEX_LEN_MAX;
use trunkline_dataplane::sip::digest::Hash;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::Failure;
use super::Paper;
use super::client;
use super::pretty;
use crate::api::types;
use crate::percent::encode;
use crate::subscribers::Entry;
use crate::subscribers::ha1s_of;
use crate::subscribers::name::Address;

#[derive(Debug, Subcommand)]
pub(super) enum SubscriberCommand {
    /// Adds a subscriber, or gives one another password, which is asked for on the terminal
    Add {
        /// The address, as in bob@example.org; the domain is one of the configuration
        #[arg(value_name = "USER@DOMAIN")]
        who: Address,
        /// Takes the password from the first line of standard input
        #[arg(long, conflicts_with = "ha1")]
        password_stdin: bool,
        /// Instead of a password its hash of user, domain and password, for each algorithm of the
        /// domain: MD5=.., SHA-256=.., SHA-512-256=... Other users of the machine can see it in the list of
        /// processes: with - it is asked for on the terminal, or read from standard input, one a line
        #[arg(long, value_name = "ALGORITHM=HEX|-")]
        ha1: Vec<Given>,
    },
    /// Removes a subscriber
    Remove {
        /// The address
        #[arg(value_name = "USER@DOMAIN")]
        who: Address,
    },
    /// Shows all that is known of one: what the store and the workers say, where it has registered, its
    /// calls, what it was last refused and why, and who is banned where it is
    Show {
        /// The address
        #[arg(value_name = "USER@DOMAIN")]
        who: Address,
    },
    /// Lists the subscribers, and the algorithms for which there is an HA1
    List {
        /// Only those of this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Adds all subscribers of a CSV file, or changes those who are there
    #[command(after_help = file::FORMAT)]
    Import {
        /// The file; - for standard input
        file: PathBuf,
        /// Leaves out the lines that are wrong, and says which; without it nothing of such a file is
        /// imported
        #[arg(long)]
        skip_bad: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Has the workers forget what the store said of a subscriber: the next request asks it again
    Forget {
        /// The address
        #[arg(value_name = "USER@DOMAIN", required_unless_present = "all")]
        who: Option<Address>,
        /// Of all of them: they ask anew for each whom they need, and believe what they know until the
        /// store has answered
        #[arg(long, conflicts_with = "who")]
        all: bool,
    },
}

/// `ALGORITHM=HEX`
#[derive(Clone, Copy, Debug)]
pub(super) struct Ha1 {
    algorithm: Algorithm,
    hash: Hash,
}

impl FromStr for Ha1 {
    type Err = String;

    fn from_str(text: &str) -> Result<Ha1, String> {
        let (name, digits) = text
            .split_once('=')
            .ok_or("write ALGORITHM=HEX, as in SHA-256=2cf24d..")?;
        let algorithm = Algorithm::of(name.as_bytes()).ok_or_else(|| {
            format!("no algorithm is called \"{name}\": MD5, SHA-256 or SHA-512-256")
        })?;
        let hash = Hash::read(algorithm, digits.as_bytes())
            .ok_or_else(|| format!("{name} has {} hexadecimal digits", 2 * algorithm.hash_len()))?;
        Ok(Ha1 { algorithm, hash })
    }
}

/// An HA1 of the command line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    /// It stands there.
    Here(Ha1),
    /// It does not, and is read from elsewhere.
    OnStdin,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Given, String> {
        match text {
            "-" => Ok(Given::OnStdin),
            text => text.parse().map(Given::Here),
        }
    }
}

pub(super) async fn subscriber(
    socket: &Path,
    command: &SubscriberCommand,
    json: bool,
    paper: Paper,
) -> Result<String, Failure> {
    match command {
        SubscriberCommand::Add {
            who,
            password_stdin,
            ha1,
        } => {
            let ha1s = match ha1.is_empty() {
                true => ha1s_of(who, &secret::password(who, *password_stdin)?),
                false => gathered(&secret::ha1s(who, ha1)?),
            };
            let who = who.clone();
            let changes = put(
                socket,
                &[Entry {
                    who: who.clone(),
                    ha1s,
                }],
            )
            .await?;
            Ok(match (json, changes.added) {
                (true, _) => pretty(&changes),
                (false, 0) => format!("{who} was there, and is changed\n"),
                (false, _) => format!("{who} is added\n"),
            })
        }
        SubscriberCommand::Remove { who } => {
            let path = format!("/v1/subscribers/{}", encode(&who.to_string()));
            let changes: types::Changes = client::delete(socket, &path).await?;
            Ok(match json {
                true => pretty(&changes),
                false => format!("{who} is removed\n"),
            })
        }
        SubscriberCommand::Show { who } => {
            let path = format!("/v1/subscribers/{}", encode(&who.to_string()));
            let dossier: types::Dossier = client::get(socket, &path).await?;
            let text = match json {
                true => pretty(&dossier),
                false => paper.dossier(&dossier),
            };
            let stored = dossier.stored.as_ref();
            match stored.is_some_and(|stored| stored.answer == "unknown") {
                true => Err(Failure::Said(text)),
                false => Ok(text),
            }
        }
        SubscriberCommand::List { domain } => {
            let all = list(socket, domain.as_deref()).await?;
            Ok(match json {
                true => pretty(&all),
                false => paper.subscribers(&all),
            })
        }
        SubscriberCommand::Import { file, skip_bad } => {
            import::import(socket, file, *skip_bad, json).await
        }
    }
}

pub(super) async fn auth(
    socket: &Path,
    command: &AuthCommand,
    json: bool,
) -> Result<String, Failure> {
    let AuthCommand::Forget { who, .. } = command;
    let path = match who {
        Some(who) => format!("/v1/auth/{}", encode(&who.to_string())),
        None => "/v1/auth".to_owned(),
    };
    let changes: types::Changes = client::delete(socket, &path).await?;
    Ok(match (json, who) {
        (true, _) => pretty(&changes),
        (false, Some(who)) => format!("{who} is asked for anew\n"),
        (false, None) => "all of them are asked for anew, each when it is needed\n".to_owned(),
    })
}

/// Every page of the list.
async fn list(socket: &Path, domain: Option<&str>) -> Result<types::Subscribers, Failure> {
    let mut all = types::Subscribers::default();
    let mut after = None;
    loop {
        let mut path = "/v1/subscribers?".to_owned();
        for (key, value) in [("domain", domain), ("after", after.as_deref())] {
            if let Some(value) = value {
                path += &format!("{key}={}&", encode(value));
            }
        }
        let page: types::Subscribers =
            client::get(socket, path.trim_end_matches(['&', '?'])).await?;
        all.subscribers.extend(page.subscribers);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Writes a batch.
async fn put(socket: &Path, entries: &[Entry]) -> Result<types::Changes, client::ClientError> {
    let subscribers = entries.iter().map(|Entry { who, ha1s }| {
        let ha1 = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let mut digits = [0; HEX_LEN_MAX];
            let digits = ha1s.get(algorithm)?.hex(&mut digits).to_vec();
            let digits = String::from_utf8(digits).ok()?;
            Some((algorithm.name().to_owned(), digits))
        });
        types::SubscriberWish {
            user: who.user.clone(),
            domain: who.domain.clone(),
            ha1: ha1.collect(),
        }
    });
    let wish = types::SubscribersWish {
        subscribers: subscribers.collect(),
    };
    client::put(socket, "/v1/subscribers", &wish).await
}

fn gathered(all: &[Ha1]) -> Ha1s {
    let mut ha1s = Ha1s::default();
    for ha1 in all {
        ha1s.set(ha1.algorithm, ha1.hash.bytes());
    }
    ha1s
}
