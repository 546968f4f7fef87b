//! What proves by itself who made it: credentials, nonces, and the texts that we sign and get back. And
//! the keepalive beside them, which is answered without any proof.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use super::input::Input;
use super::stored::stored;
use crate::ids::ListenIndex;
use crate::ids::TrunkTag;
use crate::ids::WorkerId;
use crate::lab;
use crate::settings::Secrets;
use crate::sip::Id;
use crate::sip::digest;
use crate::sip::digest::HEX_LEN_MAX;
use crate::sip::digest::Hash;
use crate::sip::digest::credentials::Credentials;
use crate::sip::digest::ha1::Ha1s;
use crate::sip::digest::ha1::Primed;
use crate::sip::digest::ha2::Ha2;
use crate::sip::digest::nonce;
use crate::sip::identity::Cookie;
use crate::sip::identity::Flow;
use crate::sip::identity::Identity;
use crate::sip::identity::Kind;
use crate::sip::identity::Sides;
use crate::sip::scan::is_keepalive;
use crate::span::Span;
use crate::stun;
use crate::tick::Tick;

const REALM: &[u8] = b"example.com";
const METHOD: &[u8] = b"REGISTER";
const CALL_ID: &[u8] = b"call";
const TAG: &[u8] = b"tag";
const CSEQ: u32 = 7;
const BOOT: u16 = 9;
const WORKER: WorkerId = WorkerId(1);
const NOW_S: u32 = 1_000;
const NOW: Tick = Tick::ms(1_000_000);
const LIFETIME_S: u32 = 300;
const SOURCE: IpAddr = lab::STRANGERS[0];

/// The key of the branch, and those of all else: the one in use and the one before it. Those of this box,
/// as they are and as they were.
const KEYS: [[u8; 3]; 2] = [[1, 2, 3], [1, 3, 5]];
/// Those of another box.
const OTHER_KEYS: [u8; 3] = [6, 7, 8];

/// What must hold of anything that says that it is ours, or of somebody we know. The first byte says what
/// the others are.
///
/// ```text
/// a  the value of an Authorization
/// t  a text where one of ours may stand
/// m  what is signed, and how the text is changed then
/// k  a datagram on a SIP port
/// s  bindings that a store gives back
/// ```
///
/// # Panics
/// If something is taken for ours that we have not signed, or for other than what was signed; if a response is
/// right that does not follow from the password; if what is sent because of any of it is not sound.
pub fn tokens(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'a', value)) => credentials(value),
        Some((b't', text)) => {
            taken(&identity(WORKER, BOOT, KEYS[0]), text);
        }
        Some((b'm', what)) => signed(Input(what)),
        Some((b'k', datagram)) => keepalive(datagram),
        Some((b's', bindings)) => stored(Input(bindings)),
        _ => {}
    }
}

/// Of a worker in a start of a box with these keys.
fn identity(worker: WorkerId, boot: u16, [branch, cookie @ ..]: [u8; 3]) -> Identity {
    let secrets = Secrets {
        branch: [branch; 16],
        cookie: cookie.map(|key| [key; 16]),
        hash: [4; 16],
    };
    Identity::new(worker, boot, &secrets, &lab::LISTENS)
}

/// For what a text is taken by the readers that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    flow: Option<Flow>,
    cookie: Option<Cookie>,
    branch: Option<(Kind, Id, u32)>,
    nonce: Option<u32>,
    is_to_tag: bool,
}

/// Reads a text in every way. What it is taken for must be signed as this very text.
fn taken(reader: &Identity, text: &[u8]) -> Taken {
    let must_be = |make: &dyn Fn([u8; 3]) -> Vec<u8>| {
        let is_it = |keys: [u8; 3]| make(keys).eq_ignore_ascii_case(text);
        assert!(KEYS.into_iter().any(is_it), "{}", text.escape_ascii());
    };
    let ours = |keys| identity(WORKER, BOOT, keys);
    let flow = reader.read_flow(text);
    if let Some(flow) = flow {
        must_be(&|keys| ours(keys).flow(flow).to_vec());
    }
    let cookie = reader.read_cookie(text, CALL_ID, TAG);
    if let Some(cookie) = cookie {
        must_be(&|keys| ours(keys).cookie(CALL_ID, TAG, &cookie).bytes().to_vec());
    }
    let branch = reader.read_branch(text).ok();
    if let Some(branch) = branch {
        let maker = |keys| identity(branch.worker, BOOT, keys);
        must_be(&|keys| {
            maker(keys)
                .branch(branch.kind, branch.id, branch.loop_hash)
                .to_vec()
        });
    }
    let nonce = match nonce::read(reader, text, REALM, SOURCE, LIFETIME_S, NOW) {
        nonce::Verdict::Good(nonce) => Some(nonce),
        nonce::Verdict::Stale | nonce::Verdict::Forged => None,
    };
    if let Some(nonce) = nonce {
        assert!(NOW_S - nonce.time_s <= LIFETIME_S);
        let maker = |keys| identity(nonce.worker, BOOT, keys);
        must_be(&|keys| made_nonce(&maker(keys), serial_of(text), nonce.time_s));
    }
    Taken {
        flow,
        cookie,
        branch: branch.map(|it| (it.kind, it.id, it.loop_hash)),
        nonce: nonce.map(|it| it.time_s),
        is_to_tag: reader.is_to_tag(text, CALL_ID, TAG, CSEQ),
    }
}

fn made_nonce(maker: &Identity, serial: u32, time_s: u32) -> Vec<u8> {
    let now = Tick::ms(u64::from(time_s) * 1_000);
    nonce::make(maker, REALM, SOURCE, serial, now).to_vec()
}

/// The serial number of a nonce: its bytes 7 to 9, five bits a character.
fn serial_of(text: &[u8]) -> u32 {
    let digits = text[11..16].iter();
    let digits = digits.filter_map(|&digit| char::from(digit).to_digit(32));
    // Character 11 begins with the last bit of byte 6, character 15 ends with byte 9.
    digits.fold(0, |number, digit| number << 5 | digit) & 0x00ff_ffff
}

/// Signs something. It must be read as what it is and nothing else, in either case; not at another box, and not
/// once it was changed.
fn signed(mut input: Input<'_>) {
    let maker = identity(WORKER, BOOT, KEYS[usize::from(input.byte() % 2)]);
    let nothing = Taken::default();
    let (text, is) = match input.byte() {
        b'f' => {
            let flow = Flow {
                listen: ListenIndex(input.byte() % 2),
                domain: TrunkTag(input.number()),
                phone: input.address(),
            };
            let is = Taken {
                flow: Some(flow),
                ..nothing
            };
            (maker.flow(flow).to_vec(), is)
        }
        b'c' => {
            let cookie = some_cookie(&mut input);
            let is = Taken {
                cookie: Some(cookie),
                ..nothing
            };
            (maker.cookie(CALL_ID, TAG, &cookie).bytes().to_vec(), is)
        }
        b'b' => {
            let kind = [Kind::Stateful, Kind::Ack, Kind::Stateless][usize::from(input.byte() % 3)];
            let slot = u32::from(input.number()) << 16 | u32::from(input.number());
            let (id, hash) = (Id::new(slot, input.number()), input.number().into());
            let is = Taken {
                branch: Some((kind, id, hash)),
                ..nothing
            };
            (maker.branch(kind, id, hash).to_vec(), is)
        }
        b'n' => {
            let time_s = NOW_S - u32::from(input.number()) % NOW_S;
            let serial = u32::from(input.number()) << 8 | u32::from(input.byte());
            let is = Taken {
                nonce: Some(time_s).filter(|time_s| NOW_S - time_s <= LIFETIME_S),
                ..nothing
            };
            (made_nonce(&maker, serial, time_s), is)
        }
        _ => {
            let is = Taken {
                is_to_tag: true,
                ..nothing
            };
            (maker.to_tag(CALL_ID, TAG, CSEQ).to_vec(), is)
        }
    };
    let reader = identity(WORKER, BOOT, KEYS[0]);
    assert_eq!(taken(&reader, &text), is);
    if !is.is_to_tag {
        assert_eq!(taken(&reader, &text.to_ascii_uppercase()), is);
    }
    assert_eq!(taken(&identity(WORKER, BOOT, OTHER_KEYS), &text), nothing);
    let mut changed = text.clone();
    while let Some([at, by]) = input.next() {
        changed[usize::from(at) % text.len()] ^= by;
    }
    if !changed.eq_ignore_ascii_case(&text) {
        assert_eq!(taken(&reader, &changed), nothing);
    }
}

fn some_cookie(input: &mut Input<'_>) -> Cookie {
    let sides = Sides {
        caller: ListenIndex(input.byte() % 2),
        callee: ListenIndex(input.byte() % 2),
        pass: input.byte(),
        boot: input.byte(),
        trunks: [TrunkTag(input.number()), TrunkTag(input.number())],
    };
    let mut home = || {
        let address = Some(input.address());
        // Port 0 is a party without one.
        address.filter(|it| it.port() != 0).map(SocketAddr::into)
    };
    Cookie {
        sides,
        homes: [home(), home()],
    }
}

const PASSWORD: &[u8] = b"wonderland";
/// Longer than the header fields of any message that fits a span.
const CREDENTIALS_LEN_MAX: usize = 30_000;

/// Reads credentials. They are right if and only if the response is the one that RFC 7616 §3.4.1 says; and are
/// read again as they were when they are written with that.
fn credentials(value: &[u8]) {
    if value.len() > CREDENTIALS_LEN_MAX {
        return;
    }
    let Some(read) = read_credentials(value) else {
        return;
    };
    let ha1 = read.algorithm.hash(&[read.username, REALM, PASSWORD]);
    let mut ha1s = Ha1s::default();
    ha1s.set(read.algorithm, ha1.bytes());
    let primed = Primed::from(ha1s);
    let is_right = |it: &Credentials<'_>| {
        let ha2 = Ha2::of(it.algorithm, METHOD, it.uri);
        digest::is_right(it, &primed, &ha2)
    };
    let expected = expected(&read, &ha1);
    assert_eq!(is_right(&read), expected.is(&read.response));
    let right = written(&read, &expected);
    let Some(again) = read_credentials(&right) else {
        panic!("{}", right.escape_ascii());
    };
    assert!(is_right(&again), "{}", right.escape_ascii());
    assert_eq!(
        (again.username, again.nonce, again.uri, again.nc()),
        (read.username, read.nonce, read.uri, read.nc())
    );
    let mut bytes = expected.bytes().to_vec();
    bytes[value.len() % expected.bytes().len()] ^= 1;
    let wrong = written(&read, &Hash::new(&bytes));
    assert!(read_credentials(&wrong).is_some_and(|it| !is_right(&it)));
}

fn read_credentials(value: &[u8]) -> Option<Credentials<'_>> {
    let read = Credentials::read(value, Span::new(0, value.len()), REALM).ok()??;
    assert_eq!(read.realm, REALM);
    for text in [read.username, read.nonce, read.uri] {
        assert!(!text.contains(&b'"') && !text.contains(&b'\\'));
    }
    Some(read)
}

/// The response, hashed in one go.
fn expected(read: &Credentials<'_>, ha1: &Hash) -> Hash {
    let mut rooms = [[0; HEX_LEN_MAX]; 2];
    let [room, other_room] = &mut rooms;
    let ha1 = ha1.hex(room);
    let ha2 = read.algorithm.hash(&[METHOD, read.uri]);
    let ha2 = ha2.hex(other_room);
    let text = match &read.count {
        Some(count) => [ha1, read.nonce, count.text, count.cnonce, b"auth", ha2].join(&b':'),
        None => [ha1, read.nonce, ha2].join(&b':'),
    };
    read.algorithm.hash(&[&text])
}

fn written(read: &Credentials<'_>, response: &Hash) -> Vec<u8> {
    let mut room = [0; HEX_LEN_MAX];
    let mut text = b"Digest ".to_vec();
    let mut push = |name: &str, value: &[u8], end: &[u8]| {
        text.extend([name.as_bytes(), b"=\"", value, b"\"", end].concat());
    };
    push("username", read.username, b",");
    push("realm", read.realm, b", ");
    push("nonce", read.nonce, b" ,\t");
    push("uri", read.uri, b",");
    push("algorithm", read.algorithm.name().as_bytes(), b",");
    if let Some(count) = &read.count {
        push("qop", b"auth", b",");
        push("nc", count.text, b",");
        push("cnonce", count.cnonce, b",");
    }
    push("response", response.hex(&mut room), b"");
    text
}

/// A datagram that may be STUN: who is answered learns its own address, and no answer is answered.
fn keepalive(datagram: &[u8]) {
    for source in [
        lab::PEERS[0],
        SocketAddr::from((Ipv6Addr::LOCALHOST, 5_070)),
    ] {
        let mut out = [0xee; stun::RESPONSE_LEN_MAX];
        let verdict = stun::answer(datagram, source, &mut out);
        if verdict == stun::Verdict::Drop {
            continue;
        }
        assert!(stun::is_stun(datagram) && !is_keepalive(datagram));
        let stun::Verdict::Answer(len) = verdict else {
            assert!(!stun::is_request(datagram));
            continue;
        };
        assert!(stun::is_request(datagram) && len % 4 == 0);
        let (answer, rest) = out.split_at(len);
        assert!(rest.iter().all(|byte| *byte == 0xee));
        assert_eq!((answer[2], usize::from(answer[3])), (0, len - 20));
        assert_eq!(answer[4..20], datagram[4..20]);
        match answer[..2] {
            [1, 1] => assert_eq!(mapped(answer), Some(source)),
            _ => assert_eq!(
                (&answer[..2], &answer[20..28]),
                (&[1, 0x11][..], &[0, 9, 0, 4, 0, 0, 4, 20][..])
            ),
        }
        let mut again = [0; stun::RESPONSE_LEN_MAX];
        let answered = stun::answer(answer, source, &mut again);
        assert_eq!(answered, stun::Verdict::Drop);
    }
}

/// The XOR-MAPPED-ADDRESS (RFC 8489 §14.2) of an answer that has nothing else.
fn mapped(answer: &[u8]) -> Option<SocketAddr> {
    let (head, value) = answer[20..].split_first_chunk::<8>()?;
    let mask = &answer[4..20];
    let clear: Vec<u8> = value.iter().zip(mask).map(|(a, b)| a ^ b).collect();
    let port = u16::from_be_bytes([head[6] ^ mask[0], head[7] ^ mask[1]]);
    let ip: IpAddr = match (&head[..6], &clear[..]) {
        ([0, 0x20, 0, 8, 0, 1], v4) => <[u8; 4]>::try_from(v4).ok()?.into(),
        ([0, 0x20, 0, 20, 0, 2], v6) => <[u8; 16]>::try_from(v6).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
