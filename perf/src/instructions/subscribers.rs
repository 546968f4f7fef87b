//! Loads of subscribers through the SIP engine alone: challenges, and requests that are let in.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use trunkline_dataplane::lab;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;
use trunkline_dataplane::sip::effects::Question;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::subscriber::Said;

use super::engine::CALLEE;
use super::engine::CALLER;
use super::engine::Engine;
use super::engine::response;
use crate::blast::digest;
use crate::blast::digest::Credentials;

/// Where the phone is: an address of no trunk.
const PHONE: SocketAddr = SocketAddr::new(lab::STRANGERS[0], 5060);

const USER: &str = "+4989654321";
const PASSWORD: &str = "wonderland";

/// Challenges `count` REGISTERs.
pub fn challenges(count: u64) -> anyhow::Result<()> {
    time_challenges(count).map(drop)
}

/// The same; how long the engine was at it.
pub fn time_challenges(count: u64) -> anyhow::Result<Duration> {
    let mut engine = engine();
    let mut numbers = 0..count;
    numbers.try_for_each(|number| {
        engine.hear_from(PHONE, CALLER, &request("REGISTER", number, 1, ""), 1)?;
        // As many as one address may send.
        engine.pass_to(engine.now.plus_ms(20))
    })?;
    Ok(engine.busy)
}

/// Lets `count` requests of a known subscriber in, each with a nonce of its own; they are sent on and
/// answered.
pub fn let_in(count: u64) -> anyhow::Result<()> {
    let mut engine = engine_that_knows()?;
    for number in 1..=count {
        let request = authorized(&mut engine, "MESSAGE", number)?;
        engine.is_measured = true;
        engine.hear_from(PHONE, CALLER, &request, 1)?;
        let sent = engine.sent_from(CALLEE)?;
        engine.hear(CALLEE, &response(&sent, "200 OK", ""), 1)?;
        engine.is_measured = false;
        engine.pass_to(engine.now.plus_ms(40_000))?;
    }
    Ok(())
}

/// Refreshes the contact of a known subscriber `count` times.
pub fn registers(count: u64) -> anyhow::Result<()> {
    time_registers(count).map(drop)
}

/// The same; how long the engine was at it.
pub fn time_registers(count: u64) -> anyhow::Result<Duration> {
    let mut engine = engine_that_knows()?;
    let mut took = Duration::ZERO;
    for number in 1..=count {
        let request = authorized(&mut engine, "REGISTER", number)?;
        engine.is_measured = number > 1;
        let before = engine.busy;
        engine.hear_from(PHONE, CALLER, &request, 1)?;
        took += engine.busy - before;
        let answered = engine.sent_from(CALLER)?;
        anyhow::ensure!(answered.starts_with("SIP/2.0 200 "), "{answered}");
        engine.is_measured = false;
        engine.pass_to(engine.now.plus_ms(1_000))?;
    }
    Ok(took)
}

/// An engine that has been told of the subscriber.
fn engine_that_knows() -> anyhow::Result<Engine> {
    let mut engine = engine();
    engine.is_measured = false;
    let request = authorized(&mut engine, "MESSAGE", 0)?;
    engine.hear_from(PHONE, CALLER, &request, 0)?;
    let [Question::Store { question, who }] = engine.asked[..] else {
        anyhow::bail!("the store was not asked");
    };
    let mut ha1s = Ha1s::default();
    let hashed = [USER, lab::DOMAIN, PASSWORD].map(str::as_bytes);
    ha1s.set(Algorithm::Sha256, Algorithm::Sha256.hash(&hashed).bytes());
    let said = Said::Known(Known::Subscriber(ha1s));
    engine.proxy.said(question, &who, said, engine.now);
    anyhow::ensure!(engine.resume() == 1, "nothing was sent on");
    let sent = engine.sent_from(CALLEE)?;
    engine.hear(CALLEE, &response(&sent, "200 OK", ""), 1)?;
    Ok(engine)
}

/// A request with the answer to a challenge that it got just now.
fn authorized(engine: &mut Engine, method: &str, number: u64) -> anyhow::Result<String> {
    engine.hear_from(PHONE, CALLER, &request(method, number, 1, ""), 1)?;
    let challenge = engine.sent_from(CALLER)?;
    let message = Message::scan(challenge.as_bytes()).map_err(|why| anyhow::anyhow!("{why:?}"))?;
    let who = Credentials {
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let line = digest::answer(&message, &who, (method, "sip:example.com"), 7);
    Ok(request(method, number, 2, &line.context("no challenge")?))
}

fn engine() -> Engine {
    let mut settings = lab::settings(1);
    settings.abuse = Abuse::default();
    settings.capacity = Capacity::SMALL;
    lab::add_domain(&mut settings);
    // Nobody is asked about twice.
    settings.authentication.lifetimes.known_ms = 1 << 40;
    Engine::of(&settings)
}

/// A request of the size that phones send.
fn request(method: &str, number: u64, cseq: u32, more: &str) -> String {
    let (at, domain) = (PHONE.ip(), lab::DOMAIN);
    let uri = match method {
        "REGISTER" => "sip:example.com",
        _ => "sip:+4930123456@10.77.1.1",
    };
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {at}:5060;rport;branch=z9hG4bK-{number:08}-{cseq}\r\n\
         Max-Forwards: 70\r\n\
         From: \"A. Caller\" <sip:{USER}@{domain}>;tag=c{number:08}\r\n\
         To: <sip:{USER}@{domain}>\r\n\
         Call-ID: 8f2a61c4-7dec-11d0@{at}\r\n\
         CSeq: {number}{cseq} {method}\r\n\
         Contact: <sip:{USER}@{at}:5060>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
         {more}User-Agent: Example Phone 11.4.2-50771\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE\r\n\
         Supported: path, outbound, gruu\r\n\
         Content-Length: 0\r\n\r\n"
    )
}
