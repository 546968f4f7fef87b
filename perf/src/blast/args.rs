//! The options of `trunkline-perf blast`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use clap::Args;
use trunkline_dataplane::sys::affinity;
use trunkline_dataplane::sys::clock;

use super::load::Plan;
use super::pace::Rate;
use super::phones::Phones;
use super::port::EndConfig;
use super::port::Port;
use super::report;
use super::run;
use super::run::Watch;
use super::script::Mix;
use super::script::Times;
use super::speech::MEDIA_PORT_FIRST;
use crate::measure::account::Account;

/// See the command's help.
#[derive(Clone, Debug, Args)]
pub struct BlastArgs {
    /// The callers: interface and address, like caller=10.77.1.2:5060.
    #[arg(long, value_name = "INTERFACE=ADDRESS", value_parser = end)]
    caller: (String, SocketAddr),
    /// The callees: interface and address.
    #[arg(long, value_name = "INTERFACE=ADDRESS", value_parser = end)]
    callee: (String, SocketAddr),
    /// The box, as the callers reach it.
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
    /// The box, as the callees reach it.
    #[arg(long, value_name = "ADDRESS")]
    from: SocketAddr,
    /// Whom the callers call.
    #[arg(long, default_value = "15550100")]
    number: String,
    /// Calls a second, or a ramp like 100..5000.
    #[arg(long, default_value = "1000")]
    rate: Rate,
    /// Seconds in which calls begin.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    time: f64,
    /// At most so many calls.
    #[arg(long)]
    calls: Option<u64>,
    /// Shares of the scripts: basic, busy, cancel, hold, register.
    #[arg(long, default_value = "basic", value_name = "SCRIPT=SHARE,..")]
    mix: Mix,
    /// Milliseconds that it rings.
    #[arg(long, default_value_t = 0)]
    ring: u64,
    /// Milliseconds from answer to BYE.
    #[arg(long, default_value_t = 0)]
    talk: u64,
    /// The most calls that are open at once; twice what rate, ring and talk need if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    open: Option<u32>,
    /// Seconds at the beginning that are not in the figures.
    #[arg(long, default_value_t = 0.0)]
    warm: f64,
    /// A process whose CPU time is told beside the generator's and the machine's; repeatable.
    #[arg(long, value_name = "NAME=PID", value_parser = account)]
    account: Vec<(String, u32)>,
    /// Send every request to --to, whatever Route and Contact say, and media through it as well: for a
    /// forwarder that is no proxy.
    #[arg(long)]
    outbound: bool,
    /// Callers are users user000000 to so many less one, of --domain, with passwords pw000000 and on;
    /// those of the script register do register, and all answer challenges.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    users: u32,
    /// The first so many of the users call, and those who register are the others. With 0 each does either.
    #[arg(long, default_value_t = 0, requires = "users")]
    callers: u32,
    /// What the users' phones know between runs: the nonce that each was given when it registered, which it then uses until
    /// it is told that it is stale. Read where it is there, and written at the end.
    #[arg(long, value_name = "FILE", requires = "users")]
    phones: Option<PathBuf>,
    /// Write here who was told 200 to a REGISTER: seconds since 1970, and the user, a line each.
    #[arg(long, value_name = "FILE")]
    registered: Option<PathBuf>,
    /// The users' domain; the address of --to if it is not given.
    #[arg(long)]
    domain: Option<String>,
    /// No SDP in INVITE and 200: for a box that would anchor the media.
    #[arg(long)]
    no_sdp: bool,
    /// Send RTP both ways while basic calls talk; --talk says how long.
    #[arg(long, conflicts_with = "no_sdp")]
    media: bool,
    /// The core to run on.
    #[arg(long)]
    core: Option<u16>,
    /// Write the figures here as JSON, - for standard output in the place of the summary.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// No line a second.
    #[arg(long)]
    quiet: bool,
}

fn end(text: &str) -> Result<(String, SocketAddr), String> {
    let (interface, address) = text
        .split_once('=')
        .ok_or("write it like caller=10.77.1.2:5060")?;
    let address = address
        .parse()
        .map_err(|_| format!("{address} is no address with a port"))?;
    Ok((interface.to_owned(), address))
}

fn account(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = text.split_once('=').ok_or("write it like box=1234")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match (pid.parse(), name.bytes().all(plain) && !name.is_empty()) {
        (Ok(pid), true) => Ok((name.to_owned(), pid)),
        (Err(_), _) => Err(format!("{pid} is no process id")),
        (_, false) => Err("a name is letters, digits and -".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok();
    seconds
        .filter(|seconds| (0.001..=86_400.0).contains(seconds))
        .ok_or("seconds, up to a day".to_owned())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Seats for calls that end late or wait for a repetition.
const SEATS_SPARE: f64 = 2_000.0;

impl BlastArgs {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by the options' ranges"
    )]
    fn seats(&self) -> u32 {
        let rate = self.rate.from.max(self.rate.to);
        let lasts = (self.ring + self.talk) as f64 / 1e3;
        let seats = rate.mul_add(2.0 * lasts + 1.0, SEATS_SPARE);
        self.open.unwrap_or(seats.min(4_000_000.0) as u32)
    }

    fn known_phones(&self) -> anyhow::Result<Phones> {
        let Some(path) = &self.phones else {
            return Ok(Phones::default());
        };
        let text = match path.exists() {
            true => fs::read_to_string(path),
            false => Ok(String::new()),
        };
        let phones = text.map_err(Into::into);
        phones
            .and_then(|text| Phones::read(&text, self.users))
            .with_context(|| format!("reading {}", path.display()))
    }

    /// Carries the load and tells of it.
    ///
    /// # Errors
    /// What stood in the way of the start, or of the file.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.caller.1.is_ipv4() != self.to.is_ipv4()
            || self.callee.1.is_ipv4() != self.from.is_ipv4()
        {
            anyhow::bail!("--caller and --to, --callee and --from are of one family each");
        }
        if let Some(core) = self.core {
            affinity::pin(trunkline_dataplane::ids::CoreId(core))?;
        }
        if !(0.0..self.time).contains(&self.warm) {
            anyhow::bail!("--warm is shorter than --time");
        }
        for (_, address) in [&self.caller, &self.callee] {
            if address.port() >= MEDIA_PORT_FIRST {
                anyhow::bail!("SIP ports are below {MEDIA_PORT_FIRST}, where those of media begin");
            }
        }
        let own = ("generator".to_owned(), std::process::id());
        let accounts = [own]
            .iter()
            .chain(&self.account)
            .map(|(name, pid)| Account::open(name, *pid))
            .collect::<anyhow::Result<_>>()?;
        let end = |(interface, address): &(String, SocketAddr), neighbour: SocketAddr| EndConfig {
            interface: interface.clone(),
            address: *address,
            neighbour: neighbour.ip(),
        };
        let port = Port::open(&end(&self.caller, self.to), &end(&self.callee, self.from))?;
        let plan = Plan {
            caller: self.caller.1,
            callee: self.callee.1,
            target: self.to,
            from: self.from,
            number: self.number.clone(),
            run: u32::try_from(clock::now().0 >> 20 & u64::from(u32::MAX))?,
            rate: self.rate,
            time: Duration::from_secs_f64(self.time),
            calls: self.calls,
            mix: self.mix,
            times: Times {
                ring: Duration::from_millis(self.ring),
                talk: Duration::from_millis(self.talk),
            },
            seats: self.seats(),
            outbound: self.outbound,
            sdp: !self.no_sdp,
            media: self.media,
            users: self.users,
            callers: self.callers.min(self.users),
            domain: self.domain.clone().unwrap_or(self.to.ip().to_string()),
        };
        let warm = Duration::from_secs_f64(self.warm);
        let phones = self.known_phones()?;
        let outcome = run::run(plan, phones, warm, port, Watch::new(accounts), self.quiet)?;
        if let Some(path) = &self.phones {
            write(path, &outcome.phones.text())?;
        }
        if let Some(path) = &self.registered {
            let monotonic = Duration::from_nanos(clock::now().0);
            let offset = UNIX_EPOCH.elapsed()?.saturating_sub(monotonic);
            write(path, &outcome.phones.log(offset))?;
        }
        let figures = || serde_json::to_string_pretty(&report::json(&outcome));
        match &self.json {
            Some(path) if path.as_os_str() == "-" => println!("{}", figures()?),
            Some(path) => {
                write(path, &(figures()? + "\n"))?;
                print!("{}", report::summary(&outcome));
            }
            None => print!("{}", report::summary(&outcome)),
        }
        let counts = &outcome.tally.counts;
        let well = counts.failed() == 0 && counts.open == 0 && counts.no_seat == 0;
        Ok(match well {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
