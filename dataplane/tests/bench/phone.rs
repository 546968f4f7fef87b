//! A subscriber on the bench: who it is, and how it answers a challenge.

use std::net::SocketAddr;

use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::settings::Upstream;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::HEX_LEN_MAX;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sip::subscriber::User;

use super::ACCESS;
use super::Bench;
use super::Left;
use super::answer;
use super::header;

/// Where the phone of the tests is: an address of no trunk.
pub const PHONE: SocketAddr = SocketAddr::new(lab::STRANGERS[0], 5070);

/// What the store asks about: by which worker, and the question's name.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub worker: usize,
    pub question: Option<Id>,
    pub who: Subscriber,
}

/// The lab's box with a domain of subscribers.
pub fn settings(workers: u8) -> Settings {
    let mut settings = lab::settings(workers);
    lab::add_domain(&mut settings);
    settings
}

/// The lab's box as the edge before a registrar elsewhere, which is the callee.
pub fn before_a_registrar(workers: u8) -> Settings {
    let mut settings = settings(workers);
    settings.routes.pop();
    let domain = &mut settings.domains[0];
    domain.registrar = false;
    domain.upstream = Some(Upstream {
        route: lab::route(domain.trunk.0, None, &[(1, 1000)]),
        nat_expires_s: 60,
        passes_unregistered: false,
    });
    settings
}

/// Where the phone says that it is: behind a NAT.
pub const PRIVATE: &str = "sip:alice@192.168.0.2:5071";

/// A REGISTER of the phone behind its NAT.
pub fn register(cseq: u32, more: &str) -> String {
    let open = "sip:alice@10.77.1.66:5070";
    request("REGISTER", "alice", "reg", cseq, more).replace(open, PRIVATE)
}

/// The 200 of a registrar elsewhere that has bound a contact for so long.
pub fn granted(sent: &str, contact: &str, expires_s: u32) -> String {
    let path = header(sent, "Path");
    let lines = format!("Contact: <{contact}>;expires={expires_s}\r\nPath: {path}\r\n");
    answer(sent, "200 OK", &lines, "")
}

/// A request of the registrar elsewhere to the phone.
pub fn to_phone(method: &str, call_id: &str, path: &str, body: &str) -> String {
    let text = super::request(method, call_id, "1", call_id, "", body);
    let text = text.replacen("sip:100@10.77.1.1 ", &format!("{PRIVATE} "), 1);
    text.replacen("Max-Forwards", &format!("Route: {path}\r\nMax-Forwards"), 1)
}

/// The HA1s of a user with a password.
pub fn ha1s(user: &str, password: &str) -> Known {
    let mut ha1s = Ha1s::default();
    for algorithm in Algorithm::ALL {
        let parts = [user.as_bytes(), lab::DOMAIN.as_bytes(), password.as_bytes()];
        ha1s.set(algorithm, algorithm.hash(&parts).bytes());
    }
    Known::Subscriber(ha1s)
}

/// A request of a user of the domain, with more header lines.
pub fn request(method: &str, user: &str, call_id: &str, cseq: u32, more: &str) -> String {
    let domain = lab::DOMAIN;
    let to = match (method, more.contains("To: ")) {
        ("REGISTER", _) => format!("To: <sip:{user}@{domain}>\r\n"),
        (_, true) => String::new(),
        _ => format!("To: <sip:100@{domain}>\r\n"),
    };
    format!(
        "{method} sip:100@10.77.1.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.77.1.66:5070;rport;branch=z9hG4bK{call_id}{method}{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag={user}\r\n\
         {to}{more}Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:{user}@10.77.1.66:5070>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The header line by which a user answers the challenge for this algorithm.
pub fn credentials(
    challenge: &str,
    algorithm: Algorithm,
    (user, password): (&str, &str),
    method: &str,
    nc: u32,
) -> String {
    let name = algorithm.name();
    let asks = |line: &&str| {
        line.contains("-Authenticate: Digest ") && line.contains(&format!("algorithm={name},"))
    };
    let line = challenge.lines().find(asks).unwrap();
    let quoted = |key: &str| {
        let rest = line.split(&format!("{key}=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let (realm, nonce, uri) = (quoted("realm"), quoted("nonce"), "sip:100@10.77.1.1");
    let (cnonce, nc) = ("0a4f113b", format!("{nc:08x}"));
    let mut rooms = [[0; HEX_LEN_MAX]; 3];
    let [first, second, third] = &mut rooms;
    let hash = |parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        algorithm.hash(&parts)
    };
    let text = |hex: &[u8]| String::from_utf8(hex.to_vec()).unwrap();
    let ha1 = text(hash(&[user, &realm, password]).hex(first));
    let ha2 = text(hash(&[method, uri]).hex(second));
    let response = hash(&[&ha1, &nonce, &nc, cnonce, "auth", &ha2]);
    let response = text(response.hex(third));
    let field = match method {
        "REGISTER" => "Authorization",
        _ => "Proxy-Authorization",
    };
    format!(
        "{field}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         algorithm={name}, qop=auth, nc={nc}, cnonce=\"{cnonce}\", response=\"{response}\"\r\n"
    )
}

/// A request of the caller, who is a trunk, to a user of the domain.
pub fn to_user(method: &str, user: &str, call_id: &str) -> String {
    let text = super::request(method, call_id, "1", call_id, "", "");
    let domain = lab::DOMAIN;
    text.replacen("sip:100@10.77.1.1 ", &format!("sip:{user}@{domain} "), 1)
}

/// A phone that registers: its nonce, and how often it was used.
pub struct Device {
    user: String,
    challenge: String,
    nc: u32,
    pub cseq: u32,
}

impl Device {
    const PASSWORD: &str = "wonderland";

    /// One that has been challenged and whose user every worker knows.
    pub fn asking(bench: &mut Bench, user: &str) -> Device {
        let call_id = format!("{user}-reg");
        let challenge = bench.phone_gets(0, &request("REGISTER", user, &call_id, 1, ""));
        assert!(challenge.starts_with("SIP/2.0 401 "), "{challenge}");
        let who = Subscriber {
            domain: DomainIndex(0),
            user: User::new(user.as_bytes()).unwrap(),
        };
        for post in &mut bench.posts {
            let mail = Mail::Said {
                question: None,
                who,
                said: Said::Known(ha1s(user, Device::PASSWORD)),
            };
            assert!(post.mail.post(mail).is_ok());
        }
        bench.turn();
        Device {
            user: user.to_owned(),
            challenge,
            nc: 0,
            cseq: 1,
        }
    }

    /// One that has registered for ten minutes.
    pub fn new(bench: &mut Bench, user: &str) -> Device {
        let mut device = Device::asking(bench, user);
        let ok = bench.phone_gets(0, &device.register("Expires: 600\r\n"));
        assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
        device
    }

    /// Its next REGISTER, with these lines.
    pub fn register(&mut self, lines: &str) -> String {
        self.nc += 1;
        self.cseq += 1;
        let line = credentials(
            &self.challenge,
            Algorithm::Sha256,
            (&self.user, Device::PASSWORD),
            "REGISTER",
            self.nc,
        );
        let (user, call_id) = (&self.user, format!("{}-reg", self.user));
        request(
            "REGISTER",
            user,
            &call_id,
            self.cseq,
            &format!("{line}{lines}"),
        )
    }
}

/// The status lines of what left to `destination`.
pub fn statuses(left: &[Left], destination: SocketAddr) -> Vec<String> {
    let to = left.iter().filter(|left| left.destination == destination);
    to.map(|left| left.text().lines().next().unwrap().to_owned())
        .collect()
}

impl Bench {
    /// A message from the phone, at `worker`; what leaves because of it.
    pub fn phone(&mut self, worker: usize, message: &str) -> Vec<Left> {
        self.say(worker, PHONE, ACCESS, message)
    }

    /// The final response that the phone gets to a request; the last of what left to it.
    pub fn phone_gets(&mut self, worker: usize, message: &str) -> String {
        let left = self.phone(worker, message);
        let mut to_phone = left.iter().filter(|left| left.destination == PHONE);
        to_phone.next_back().unwrap().text()
    }

    /// What the workers have asked the store since this was last looked at.
    pub fn asked(&mut self) -> Vec<Asked> {
        let posts = self.posts.iter_mut().enumerate();
        let reports = posts.flat_map(|(worker, post)| {
            let reports = std::iter::from_fn(|| post.reports.pop().ok());
            reports
                .map(move |report| (worker, report))
                .collect::<Vec<_>>()
        });
        let asked = reports.filter_map(|(worker, report)| match report {
            Report::Ask { question, who } => Some(Asked {
                worker,
                question,
                who,
            }),
            _ => None,
        });
        asked.collect()
    }

    /// The store answers; what leaves because of it.
    pub fn said(&mut self, asked: Asked, said: Said) -> Vec<Left> {
        let mail = Mail::Said {
            question: asked.question,
            who: asked.who,
            said,
        };
        assert!(self.posts[asked.worker].mail.post(mail).is_ok());
        self.left.clear();
        self.turn();
        self.left.drain(..).collect()
    }
}
