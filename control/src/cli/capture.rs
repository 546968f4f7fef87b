//! `trunkctl capture` and `trunkctl ladder`: packets into a file and onto the screen.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::io::Read as _;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use http_body_util::BodyExt as _;
use pcap_file::PcapError;
use pcap_file::pcap::PcapParser;

use super::Failure;
use super::client::ClientError;
use super::client::open;
use super::complain;
use super::ladder::Frame;
use super::ladder::Ladder;
use super::print;
use crate::api::capture::MIB;
use crate::api::capture::MIB_MAX;
use crate::api::capture::SECONDS;
use crate::api::capture::SECONDS_MAX;
use crate::percent::encode;

/// What to capture, and where to.
#[derive(Debug, Args)]
pub struct CaptureArguments {
    /// The Call-ID of one call
    #[arg(required_unless_present = "user")]
    call_id: Option<String>,

    /// Every call whose From, To or Request-URI names this user
    #[arg(long, value_name = "USER", conflicts_with = "call_id")]
    user: Option<String>,

    /// Write the packets into a pcap file (- for standard output) as well
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// End after so many seconds
    #[arg(long, default_value_t = SECONDS, value_parser = clap::value_parser!(u32).range(1..=i64::from(SECONDS_MAX)))]
    seconds: u32,

    /// End after so many MiB of packets
    #[arg(long, value_name = "MIB", default_value_t = MIB, value_parser = clap::value_parser!(u32).range(1..=i64::from(MIB_MAX)))]
    size: u32,

    /// SIP alone, without the headers of its media
    #[arg(long)]
    no_media: bool,
}

impl CaptureArguments {
    fn path(&self) -> String {
        let whose = match (&self.call_id, &self.user) {
            (Some(id), _) => format!("call_id={}", encode(id)),
            (None, user) => format!("user={}", encode(user.as_deref().unwrap_or_default())),
        };
        let (seconds, mib, media) = (self.seconds, self.size, !self.no_media);
        format!("/v1/capture?{whose}&seconds={seconds}&mib={mib}&media={media}")
    }
}

/// Captures until it is over, or Ctrl-C.
pub async fn capture(socket: &Path, wish: &CaptureArguments) -> Result<String, Failure> {
    let mut body = open(socket, &wish.path()).await?;
    let mut file = match &wish.write {
        Some(path) => Some((path.clone(), create(path).map_err(failed(path))?)),
        None => None,
    };
    // The packets and their drawing would mix on one standard output.
    let draws = wish.write.as_deref() != Some(Path::new("-"));
    let mut ladder = Ladder::new(width());
    let mut reader = Reader::default();
    let mut packets = 0;
    let mut gone = false;
    if draws {
        complain(format_args!(
            "capturing for {} s or {} MiB; Ctrl-C ends it",
            wish.seconds, wish.size
        ));
    }
    loop {
        let piece = tokio::select! {
            piece = body.frame() => piece,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(piece) = piece else { break };
        // What there is is shown all the same.
        let Ok(piece) = piece else {
            gone = true;
            break;
        };
        let Some(bytes) = piece.data_ref() else {
            continue;
        };
        if let Some((path, file)) = &mut file {
            file.write_all(bytes).map_err(failed(path))?;
        }
        let batch = reader.read(bytes)?;
        packets += batch.len();
        if draws {
            print(&ladder.draw(&batch)).map_err(failed(Path::new("standard output")))?;
        }
    }
    let end = match file {
        _ if !draws => String::new(),
        None => ladder.end(),
        Some((path, _)) => ladder.end() + &format!("\n{packets} packets in {}\n", path.display()),
    };
    if gone {
        print(&end).map_err(failed(Path::new("standard output")))?;
        return Err(Failure::Error(ClientError::Closed));
    }
    Ok(end)
}

/// Draws the ladder of a pcap file.
pub fn ladder(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| Failure::Read {
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    let batch = Reader::default()
        .read(&bytes)
        .map_err(|error| Failure::Read {
            path: path.to_owned(),
            error: error.to_string(),
        })?;
    let mut ladder = Ladder::new(width());
    let drawn = ladder.draw(&batch);
    Ok(drawn + &ladder.end())
}

/// A pcap file that comes piece by piece.
#[derive(Default)]
struct Reader {
    parser: Option<PcapParser>,
    rest: Vec<u8>,
}

impl Reader {
    /// The packets that are whole with `bytes`.
    fn read(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, ClientError> {
        self.rest.extend_from_slice(bytes);
        let strange = |error: PcapError| ClientError::Strange(format!("no pcap file: {error}"));
        let mut packets = Vec::new();
        let mut at = 0;
        if self.parser.is_none() {
            match PcapParser::new(&self.rest) {
                Ok((after, parser)) => {
                    at = self.rest.len() - after.len();
                    self.parser = Some(parser);
                }
                Err(PcapError::IncompleteBuffer) => return Ok(packets),
                Err(error) => return Err(strange(error)),
            }
        }
        if let Some(parser) = &self.parser {
            loop {
                match parser.next_packet(&self.rest[at..]) {
                    Ok((after, packet)) => {
                        packets.push((packet.timestamp, packet.data.into_owned()));
                        at = self.rest.len() - after.len();
                    }
                    Err(PcapError::IncompleteBuffer) => break,
                    Err(error) => return Err(strange(error)),
                }
            }
        }
        self.rest.drain(..at);
        Ok(packets)
    }
}

/// The file to write; only its owner may read what people said to each other.
fn create(path: &Path) -> std::io::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdout()));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path)?;
    // One that was there may have been for others to read; a pipe has no such mode.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(Box::new(file))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::Write {
        path: path.clone(),
        error,
    }
}

/// How wide the terminal is; 100 characters where there is none.
fn width() -> usize {
    ratatui::crossterm::terminal::size().map_or(100, |(columns, _)| columns.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcap_file::pcap::PcapPacket;
    use pcap_file::pcap::PcapWriter;

    use super::*;

    #[test]
    fn a_file_is_read_however_it_is_cut() {
        let mut file = PcapWriter::new(Vec::new()).unwrap();
        for n in 0..5u8 {
            let packet = PcapPacket::new_owned(Duration::from_secs(n.into()), 300, vec![n; 40]);
            file.write_packet(&packet).unwrap();
        }
        let file = file.into_writer();
        for cut in 1..file.len() {
            let mut reader = Reader::default();
            let mut packets = reader.read(&file[..cut]).unwrap();
            packets.extend(reader.read(&file[cut..]).unwrap());
            assert_eq!(packets.len(), 5, "cut at {cut}");
            assert!((0..).zip(&packets).all(|(n, packet)| packet.1 == [n; 40]));
        }
    }

    #[test]
    fn what_is_no_capture_is_told() {
        let error = Reader::default().read(&[7; 64]).unwrap_err();
        assert!(error.to_string().contains("no pcap file"), "{error}");
    }
}
