//! Whoever tries names learns nothing: a failure of a user who exists and of one who does not read
//! alike, and take equally long, however fast the store says what.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::cast_precision_loss, reason = "counts of thousands")]

mod bench;

use bench::Bench;
use bench::call::status;
use bench::header;
use bench::phone;
use bench::phone::Asked;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::cache::Lifetimes;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::tick::Tick;

/// Probes of each kind of user.
const PROBES: usize = 10_000;
/// One who exists and one who does not, with names of one length.
const USERS: [&str; 2] = ["alice", "mally"];
const METHODS: [&str; 3] = ["REGISTER", "INVITE", "MESSAGE"];

/// Who tries names, a store whose answers take longer for one kind of user, and a clock that goes from
/// one event to the next.
struct Probing {
    bench: Bench,
    seed: u64,
    /// An answer of the store that is under way.
    answer: Option<(Tick, Asked)>,
    /// The challenge in use, and when it was got.
    challenge: Option<(Tick, String)>,
    count: u32,
}

/// What was heard of a probe.
struct Heard {
    /// Nanoseconds to the final response.
    delay_ns: u64,
    /// All that came, with what must differ put out.
    texts: String,
}

impl Probing {
    fn new(failure_grid_ms: u64) -> Probing {
        let mut settings = phone::settings(1);
        settings.authentication.failure_grid_ms = failure_grid_ms;
        // Some probes find what is known of the user, others have the store asked.
        settings.authentication.lifetimes = Lifetimes {
            known_ms: 4_000,
            unknown_ms: 1_500,
        };
        Probing {
            bench: Bench::of(&settings),
            seed: 1,
            answer: None,
            challenge: None,
            count: 0,
        }
    }

    /// splitmix64
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// What the store takes: a row that is found is read from memory, for one that is not an index on
    /// disk is gone through, now and then slowly.
    fn latency_ms(&mut self, who: &[u8]) -> u64 {
        match (who == USERS[0].as_bytes(), self.random() % 10) {
            (true, _) => 1 + self.random() % 4,
            (false, 0) => 200 + self.random() % 250,
            (false, _) => 20 + self.random() % 60,
        }
    }

    /// Goes to the next event, but not beyond `until`.
    fn advance(&mut self, until: Tick) {
        for asked in self.bench.asked() {
            let at = self
                .bench
                .now
                .plus_ms(self.latency_ms(asked.who.user.name()));
            assert!(self.answer.replace((at, asked)).is_none(), "one at a time");
        }
        let answer = self.answer.map_or(Tick::NEVER, |(at, _)| at);
        let due = self.bench.workers[0].next_due();
        self.bench.now = due.min(answer).min(until).max(self.bench.now);
        if self.bench.now == answer
            && let Some((_, asked)) = self.answer.take()
        {
            let said = match asked.who.user.name() == USERS[0].as_bytes() {
                true => ha1s(USERS[0], "wonderland"),
                false => Known::Nobody,
            };
            let left = self.bench.said(asked, Said::Known(said));
            self.bench.left.extend(left);
        }
        self.bench.turn();
    }

    /// A challenge for `user`: one is good for minutes.
    fn challenge(&mut self, user: &str) -> String {
        let now = self.bench.now;
        match &self.challenge {
            Some((got, text)) if now.since(*got) < 200_000_000_000 => text.clone(),
            _ => {
                let plain = request("OPTIONS", user, &format!("c{}", self.count), 1, "");
                let text = self.bench.phone_gets(0, &plain);
                self.challenge = Some((now, text.clone()));
                text
            }
        }
    }

    /// One attempt at a user with a wrong password, and a pause.
    fn probe(&mut self, user: &str, method: &str) -> Heard {
        self.count += 1;
        let call_id = format!("probe{:06}", self.count);
        let challenge = self.challenge(user);
        let line = credentials(&challenge, Algorithm::Sha256, (user, "wrong"), method, 1);
        let text = request(method, user, &call_id, 1, &line);
        let began = self.bench.now;
        let mut left = self.bench.phone(0, &text);
        let mut heard = String::new();
        loop {
            for text in left.iter().filter(|left| left.destination == PHONE) {
                let text = text.text();
                if !text.contains(&call_id) {
                    continue;
                }
                heard += &masked(&text, user, &call_id);
                if status(&text) != "100" {
                    let delay_ns = self.bench.now.since(began);
                    self.acknowledge(method, user, &call_id, &text);
                    self.pause();
                    return Heard {
                        delay_ns,
                        texts: heard,
                    };
                }
            }
            self.bench.left.clear();
            self.advance(Tick::NEVER);
            left = self.bench.left.drain(..).collect();
        }
    }

    fn acknowledge(&mut self, method: &str, user: &str, call_id: &str, told: &str) {
        if method == "INVITE" {
            let to = format!("To: {}\r\n", header(told, "To"));
            let ack = request("ACK", user, call_id, 1, &to);
            let [wrong, right] = ["ACK1", "INVITE1"].map(|end| format!("z9hG4bK{call_id}{end}"));
            self.bench.phone(0, &ack.replace(&wrong, &right));
        }
    }

    fn pause(&mut self) {
        let end = Tick(self.bench.now.0 + self.random() % 400_000_000);
        while self.bench.now < end {
            self.advance(end);
        }
    }
}

/// A response without what differs from one to the next of the same user.
fn masked(text: &str, user: &str, call_id: &str) -> String {
    let mut text = text.replace(user, "USER").replace(call_id, "CALL");
    for start in [
        "nonce=\"",
        "To: <sip:100@example.com>;tag=",
        "To: <sip:USER@example.com>;tag=",
    ] {
        let parts: Vec<_> = text.split(start).map(str::to_owned).collect();
        let mut masked = parts[0].clone();
        for part in &parts[1..] {
            let end = part.find(['"', '\r', ';']).unwrap();
            masked += &format!("{start}{}{}", "x".repeat(end), &part[end..]);
        }
        text = masked;
    }
    text
}

/// The delays of both kinds of user, and all texts that were heard, by method.
fn probes(failure_grid_ms: u64, each: usize) -> ([Vec<u64>; 2], Vec<String>) {
    let mut probing = Probing::new(failure_grid_ms);
    let mut delays = [Vec::new(), Vec::new()];
    let mut texts: Vec<String> = Vec::new();
    while delays[1].len() < each {
        let method = METHODS[(probing.random() % 3) as usize];
        // In either order, so that neither kind always follows the other.
        let first = (probing.random() % 2) as usize;
        for kind in [first, 1 - first] {
            let heard = probing.probe(USERS[kind], method);
            delays[kind].push(heard.delay_ns);
            let text = format!("{method}\n{}", heard.texts);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    (delays, texts)
}

/// The two-sample Kolmogorov-Smirnov test: how likely samples that are so far apart are of one
/// distribution (Press et al., Numerical Recipes, §14.3).
fn p_of(delays: &mut [Vec<u64>; 2]) -> f64 {
    delays.iter_mut().for_each(|sample| sample.sort_unstable());
    let [a, b] = &delays;
    let below = |sample: &[u64], value| sample.partition_point(|&x| x <= value) as f64;
    let apart = a.iter().chain(b).map(|&value| {
        let share = |sample: &[u64]| below(sample, value) / sample.len() as f64;
        (share(a) - share(b)).abs()
    });
    let apart = apart.fold(0.0, f64::max);
    let size = (a.len() * b.len()) as f64 / (a.len() + b.len()) as f64;
    let lambda = (size.sqrt() + 0.12 + 0.11 / size.sqrt()) * apart;
    if lambda < 0.2 {
        // The series does not converge there, and the sum is 1 to many digits.
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
    };
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

#[test]
fn failures_of_who_exists_and_who_does_not_take_equally_long_and_read_alike() {
    let (mut delays, texts) = probes(500, PROBES);
    let p = p_of(&mut delays);
    let [first, last] = [delays[0][0], delays[0][PROBES - 1]];
    println!("p = {p}; {first} to {last} ns");
    assert!(p > 0.01, "p = {p}");
    assert!(first >= 500_000_000 && last < 510_000_000, "{first} {last}");
    assert_eq!(texts.len(), METHODS.len(), "{texts:#?}");
}

#[test]
fn the_probes_would_tell_them_apart_without_the_grid() {
    let (mut delays, _) = probes(1, 500);
    let p = p_of(&mut delays);
    assert!(p < 1e-9, "p = {p}");
}

#[test]
fn the_test_tells_distributions_apart_and_takes_equal_ones_for_one() {
    let mut probing = Probing::new(500);
    let mut sample = |more: u64| {
        (0..10_000)
            .map(|_| probing.random() % 1_000 + more)
            .collect()
    };
    let (one, same, other) = (sample(0), sample(0), sample(40));
    assert!(p_of(&mut [one, same]) > 0.01);
    let one = sample(0);
    assert!(p_of(&mut [one, other]) < 0.001);
}
