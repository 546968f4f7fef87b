//! `GET /v1/capture`: packets of one call or one user, as a pcap file that grows while they
//! pass.
//!
//! ```text
//! curl --unix-socket /run/trunkline/control.sock \
//!     'http://localhost/v1/capture?user=100&seconds=30' | tshark -r -
//! ```

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::response::Response;
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::Endianness;
use pcap_file::TsResolution;
use pcap_file::pcap::PcapHeader;
use pcap_file::pcap::PcapPacket;
use pcap_file::pcap::PcapWriter;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use trunkline_dataplane::capture::Layer;
use trunkline_dataplane::capture::Wanted;
use trunkline_dataplane::sip::ShortText;

use super::Desk;
use super::refuse;
use super::stopping;
use crate::engine::Packet;
use crate::engine::Request;
use crate::engine::Wish;

/// Seconds that a capture takes if nothing is said, and at most.
pub const SECONDS: u32 = 60;
/// See [`SECONDS`].
pub const SECONDS_MAX: u32 = 3600;
/// MiB of packets that a capture takes if nothing is said, and at most.
pub const MIB: u32 = 16;
/// See [`MIB`].
pub const MIB_MAX: u32 = 1024;

/// No frame of ours is longer: 64 KiB of SIP that came over the kernel, and its headers.
const SNAP_LEN: u32 = 65_536 + 64;

/// Bytes of packets that go together; the last packet may reach beyond.
const PIECE_LEN: usize = 1 << 18;

/// What each file begins with.
const HEADER: PcapHeader = PcapHeader {
    version_major: 2,
    version_minor: 4,
    ts_correction: 0,
    ts_accuracy: 0,
    snaplen: SNAP_LEN,
    datalink: DataLink::ETHERNET,
    ts_resolution: TsResolution::NanoSecond,
    endianness: Endianness::Little,
};

/// Its length in a file.
const HEADER_LEN: usize = 24;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    call_id: Option<String>,
    user: Option<String>,
    seconds: Option<u32>,
    mib: Option<u32>,
    media: Option<bool>,
}

impl Asked {
    fn wish(&self) -> Result<Wish, String> {
        let wanted = match (&self.call_id, &self.user) {
            (Some(id), None) if !id.is_empty() => Wanted::CallId(ShortText::new(id.as_bytes())),
            (None, Some(user)) if user.len() > 64 => {
                return Err("a user of more than 64 bytes cannot be captured".to_owned());
            }
            (None, Some(user)) if !user.is_empty() => Wanted::User(ShortText::new(user.as_bytes())),
            _ => return Err("say whose packets: either call_id=.. or user=..".to_owned()),
        };
        let within = |value: Option<u32>, usual: u32, max: u32, name: &str| {
            let value = value.unwrap_or(usual);
            if (1..=max).contains(&value) {
                Ok(value)
            } else {
                Err(format!("{name} must lie between 1 and {max}"))
            }
        };
        let seconds = within(self.seconds, SECONDS, SECONDS_MAX, "seconds")?;
        let mib = within(self.mib, MIB, MIB_MAX, "mib")?;
        Ok(Wish {
            wanted,
            media: self.media.unwrap_or(true),
            time: Duration::from_secs(seconds.into()),
            bytes: u64::from(mib) << 20,
        })
    }
}

pub(super) async fn capture(State(desk): State<Desk>, asked: Query<Asked>) -> Response {
    let wish = match asked.wish() {
        Ok(wish) => wish,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    let (reply, answer) = oneshot::channel();
    if desk.send(Request::Capture(wish, reply)).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(Ok(packets)) => {
            let kind = [(CONTENT_TYPE, "application/vnd.tcpdump.pcap")];
            (kind, Body::from_stream(stream(packets))).into_response()
        }
        Ok(Err(too_many)) => refuse(StatusCode::CONFLICT, too_many.to_string()),
        Err(_) => stopping(),
    }
}

/// The file, piece by piece: its header at once, then what comes together.
fn stream(
    packets: mpsc::Receiver<Packet>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::unfold((packets, true), async |(mut packets, first)| {
        let mut file = PcapWriter::with_header(Vec::new(), HEADER).ok()?;
        if !first {
            let mut next = Some(packets.recv().await?);
            let mut len = 0;
            while let Some(packet) = next {
                len += packet.bytes.len();
                write(&mut file, packet);
                next = (len < PIECE_LEN).then(|| packets.try_recv().ok()).flatten();
            }
        }
        let mut bytes = Bytes::from(file.into_writer());
        if !first {
            bytes = bytes.split_off(HEADER_LEN);
        }
        Some((Ok(bytes), (packets, false)))
    })
}

fn write(file: &mut PcapWriter<Vec<u8>>, packet: Packet) {
    let (bytes, before) = match packet.layer {
        Layer::Frame(_) => (packet.bytes, 0),
        Layer::Datagram {
            source,
            destination,
        } => {
            let ethernet = PacketBuilder::ethernet2([0; 6], [0; 6]);
            let frame = match (source.ip(), destination.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
                (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
                // A socket speaks one family.
                _ => return,
            };
            let frame = frame.udp(source.port(), destination.port());
            let mut bytes = Vec::with_capacity(frame.size(packet.bytes.len()));
            let before = frame.size(0);
            // What is too long for its headers cannot have come.
            if frame.write(&mut bytes, &packet.bytes).is_err() {
                return;
            }
            (bytes, u32::try_from(before).unwrap_or(0))
        }
    };
    let packet = PcapPacket::new_owned(packet.at, packet.wire_len + before, bytes);
    // Writing to memory does not fail, and no packet is longer than the file allows.
    let _ = file.write_packet(&packet);
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use pcap_file::pcap::PcapReader;
    use trunkline_dataplane::ids::InterfaceIndex;

    use super::*;

    fn asked(call_id: Option<&str>, user: Option<&str>) -> Asked {
        Asked {
            call_id: call_id.map(str::to_owned),
            user: user.map(str::to_owned),
            seconds: None,
            mib: None,
            media: None,
        }
    }

    #[test]
    fn what_is_asked_for_must_make_sense() {
        assert!(asked(Some("a@b"), None).wish().is_ok());
        assert!(asked(None, Some("100")).wish().is_ok());
        let long = "1".repeat(65);
        for (wrong, says) in [
            (asked(None, None), "either"),
            (asked(Some("a"), Some("b")), "either"),
            (asked(Some(""), None), "either"),
            (asked(None, Some(&long)), "64 bytes"),
            (
                Asked {
                    seconds: Some(0),
                    ..asked(None, Some("1"))
                },
                "between 1 and 3600",
            ),
            (
                Asked {
                    mib: Some(1025),
                    ..asked(None, Some("1"))
                },
                "between 1 and 1024",
            ),
        ] {
            let error = wrong.wish().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn frames_and_datagrams_make_one_file() {
        let (sender, packets) = mpsc::channel(8);
        let at = Duration::new(1_700_000_000, 123_456_789);
        let frame = Packet {
            at,
            layer: Layer::Frame(InterfaceIndex(0)),
            bytes: vec![1; 60],
            wire_len: 200,
            room: None,
        };
        sender.send(frame).await.unwrap();
        for (source, destination) in [
            ("192.0.2.1:5060", "192.0.2.2:5061"),
            ("[2001:db8::1]:5060", "[2001:db8::2]:5061"),
        ] {
            let datagram = Packet {
                at,
                layer: Layer::Datagram {
                    source: source.parse().unwrap(),
                    destination: destination.parse().unwrap(),
                },
                bytes: vec![2; 60_000],
                wire_len: 60_000,
                room: None,
            };
            sender.send(datagram).await.unwrap();
        }
        drop(sender);
        let pieces: Vec<_> = stream(packets).collect().await;
        assert!(
            !pieces[0].as_ref().unwrap().is_empty(),
            "the header comes at once"
        );
        let file: Vec<u8> = pieces
            .into_iter()
            .flat_map(|piece| piece.unwrap())
            .collect();
        let mut reader = PcapReader::new(&file[..]).unwrap();
        let first = reader.next_packet().unwrap().unwrap();
        assert_eq!(
            (first.timestamp, first.orig_len, first.data.len()),
            (at, 200, 60)
        );
        for headers in [14 + 20 + 8, 14 + 40 + 8] {
            let packet = reader.next_packet().unwrap().unwrap();
            assert_eq!(packet.orig_len as usize, headers + 60_000);
            assert_eq!(packet.data[headers..], [2; 60_000]);
        }
        assert!(reader.next_packet().is_none());
    }
}
