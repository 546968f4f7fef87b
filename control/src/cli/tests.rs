//! What trunkctl prints, from answers as the daemon gives them.

mod network;

use super::*;

const PAPER: Paper = Paper { fit: false };

fn read<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("canned JSON")
}

/// The paragraph that begins with `title`, of a status whose `field` is `json`.
fn told(field: &str, json: &str, title: &str) -> String {
    let text = format!(
        r#"{{"version":"0.1.0","pid":1,"uptime_s":1,"workers":[],"interfaces":[],"sums":[],"complete":true,
        "warnings":[],"{field}":{json}}}"#
    );
    let text = PAPER.status(&read(&text));
    let (_, paragraph) = text.split_at(text.find(title).unwrap());
    let end = paragraph.find("\n\n").unwrap_or(paragraph.len());
    paragraph[..end].trim_end().to_owned()
}

#[test]
fn status() {
    let status = read(
        r#"{"version":"0.1.0","pid":4711,"uptime_s":93784,
        "workers":[
          {"id":0,"core":0,"poll":"adaptive","busy_percent":12.3,"calls":1000,"transactions":20,"flows":4000,"memory":"hugepages"},
          {"id":1,"core":null,"poll":"adaptive","busy_percent":null,"calls":0,"transactions":0,"flows":4000,"memory":"hugepages"}],
        "interfaces":[
          {"name":"access","device":"eth0","link":"up","mode":"native","frames":"zero-copy","queues":2,"mtu":1500},
          {"name":"core","device":"enp129s0f0np0","link":"down","mode":"generic","frames":"copy","queues":16,"mtu":9000}],
        "sums":[
          {"name":"workers: in = Σ outcomes","left":1234567,"right":1234567,"difference":0},
          {"name":"SIP: to send = sent + not sent","left":10,"right":8,"difference":2},
          {"name":"rings: redirect = received + dropped by the kernel","left":1,"right":2,"difference":-1}],
        "complete":true,
        "confinement":[
          {"thread":"control","capabilities":["CAP_NET_ADMIN"],"no_new_privs":true,"seccomp":"on","files":"Landlock ABI 5"},
          {"thread":"worker","capabilities":[],"no_new_privs":true,"seccomp":"on","files":"opens none"}],
        "warnings":["frames lie in ordinary pages: no hugepages"]}"#,
    );
    insta::assert_snapshot!(PAPER.status(&status));
}

const STATS: &str = r#"{
  "counters":[
    {"name":"rx","stage":"rings","kind":"in","help":"Frames taken off the receive rings.","total":1500000,"workers":[1000000,500000]},
    {"name":"mail_in","stage":"mail","kind":"in","help":"Mail.","total":0,"workers":[0,0]},
    {"name":"busy_ns","stage":"worker","kind":"event","help":"Nanoseconds spent in turns that found work.","total":61000000000,"workers":[60000000000,1000000000]}],
  "xdp":[
    {"interface":"access","seen":1500001,"verdicts":[
      {"name":"pass_arp","action":"pass","help":"ARP.","count":1},
      {"name":"pass_tcp","action":"pass","help":"TCP.","count":0},
      {"name":"redirect_media","action":"redirect","help":"Media.","count":1500000}]},
    {"interface":"core","seen":0,"verdicts":[
      {"name":"pass_arp","action":"pass","help":"ARP.","count":0}]}],
  "sockets":[{"interface":"access","queue":0,"worker":0,"rx_dropped":0,"rx_invalid_descs":0,"tx_invalid_descs":0,
    "rx_ring_full":12,"rx_fill_ring_empty_descs":0,"tx_ring_empty_descs":99}],
  "operator":{"connections":3,"refused":0,"kernel_datagrams":7,"networks":0},
  "memory":[
    {"name":"calls","entries":10000,"entry_bytes":892,"bytes":8920000,"help":"Calls, each with the text of its dialog."},
    {"name":"kept messages","entries":1,"entry_bytes":50331648,"bytes":50331648,"help":"Messages that may have to be sent again."}],
  "sums":[{"name":"workers: in = Σ outcomes","left":1500000,"right":1500000,"difference":0}],"complete":true}"#;

#[test]
fn what_could_not_be_checked_is_shown() {
    let mut stats: types::Stats = read(STATS);
    stats.complete = false;
    stats.unchecked = vec!["rings: redirect = received".to_owned()];
    let text = PAPER.stats(&stats, None, false);
    let row = text
        .lines()
        .find(|line| line.contains("rings:"))
        .expect(&text);
    assert!(row.ends_with("-  not checked"), "{text}");
    assert!(text.contains("\nFigures are missing: "), "{text}");
}

#[test]
fn stats_without_and_with_zeros() {
    let stats = read(STATS);
    insta::assert_snapshot!(PAPER.stats(&stats, None, false));
    insta::assert_snapshot!(PAPER.stats(&stats, None, true));
}

#[test]
fn stats_with_rates() {
    let before: types::Stats = read(STATS);
    let mut after = before.clone();
    after.counters[0].total += 5000;
    after.counters[1].total += 3;
    after.counters[2].total += 800_000_000;
    let rates = rates::Rates::between(&before, &after, std::time::Duration::from_secs(2));
    let text = PAPER.stats(&after, Some(&rates), false);
    let row = |name| {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        found.expect(&text).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("rx ")[..4], ["rx", "in", "1,505,000", "2,500"]);
    assert_eq!(row("mail_in")[3], "1.5");
    assert!(row("busy_ns").join(" ").contains(" 40.0 % "), "{text}");
    // The daemon was started anew.
    let again = rates::Rates::between(&after, &before, std::time::Duration::from_secs(1));
    assert!((again.get("rx") - 1_500_000.0).abs() < 1.0);
}

#[test]
fn stats_before_anything_was_counted() {
    let mut stats: types::Stats = read(STATS);
    stats.counters.iter_mut().for_each(|row| row.total = 0);
    assert!(
        PAPER
            .stats(&stats, None, false)
            .starts_with("Workers: nothing counted yet\n")
    );
}

const CALL: &str = r#"{"id":"1-4711@10.77.1.2","from":"sip:alice@10.77.1.2","to":"sip:+4420@10.77.1.1","state":"established",
  "age_s":75.5,"talk_s":71.25,"worker":1,"caller":"caller","callee":null,
  "streams":[{
    "caller":{"relay":"10.77.1.1:20000","peer":"10.77.1.2:6000","flows":[
      {"local":"10.77.1.1:20000","kind":"rtp","source":"10.77.1.2:6000","destination":"10.77.2.2:6000","relay":"10.77.2.1:20000",
       "owner":1,"packets_in":3551,"packets_out":3550,"packets_dropped":1,"octets_out":610600},
      {"local":"10.77.1.1:20001","kind":"rtcp","source":null,"destination":null,"relay":"10.77.2.1:20001",
       "owner":1,"packets_in":0,"packets_out":0,"packets_dropped":0,"octets_out":0}]},
    "callee":{"relay":"10.77.2.1:20000","peer":null,"flows":[]}}]}"#;

#[test]
fn a_call() {
    insta::assert_snapshot!(PAPER.call(&read(CALL)));
}

#[test]
fn who_has_begun_how_many_calls() {
    let subscribed = CALL.replace(
        "\"caller\":\"caller\"",
        "\"caller\":\"example.com\",\"subscriber\":\"alice@example.com\"",
    );
    let text = PAPER.call(&read(&subscribed));
    assert!(text.contains("begun by      alice@example.com\n"), "{text}");
    let calls = read(
        r#"{"calls":[],"complete":true,"subscribers":[
            {"subscriber":"alice@example.com","calls":12,"calls_max":20},
            {"subscriber":"bob@example.org","calls":1,"calls_max":null}]}"#,
    );
    insta::assert_snapshot!(PAPER.callers(&calls));
    let none = read(r#"{"calls":[],"complete":true}"#);
    assert_eq!(PAPER.callers(&none), "No subscriber has begun a call.\n");
}

#[test]
fn calls_and_flows() {
    let calls = read(&format!(r#"{{"calls":[{CALL}],"complete":false}}"#));
    insta::assert_snapshot!(PAPER.calls(&calls));
    let call: types::Call = read(CALL);
    let flows = types::Flows {
        flows: call.streams[0].caller.flows.clone(),
        complete: true,
    };
    insta::assert_snapshot!(PAPER.flows(&flows));
}

#[test]
fn registrations() {
    let all = read(
        r#"{"registrations":[
          {"user":"alice","domain":"example.org","contact":"sip:alice@192.0.2.7:5062","parameters":"","path":"",
           "received":"198.51.100.1:40000","listen":"access","expires_s":3599,"q":1.0,"worker":1},
          {"user":"alice","domain":"example.org","contact":"sip:alice@192.0.2.8","parameters":"","path":"<sip:edge;lr>",
           "received":"198.51.100.2:5060","listen":"access","expires_s":59,"q":0.5,"worker":1}],
        "complete":true}"#,
    );
    insta::assert_snapshot!(PAPER.registrations(&all, None));
}

/// A phone writes what it likes into a parameter, and a terminal does what it is told.
#[test]
fn what_a_phone_has_sent_tells_the_terminal_nothing() {
    let all = read(
        r#"{"registrations":[
          {"user":"a\u009b2J","domain":"example.org","contact":"sip:a@h","parameters":"","path":"<sip:p;x=\u001b]0;y\u0007>",
           "received":"198.51.100.1:40000","listen":"access","expires_s":3599,"q":1.0,"worker":1}],
        "complete":true}"#,
    );
    let shown = PAPER.registrations(&all, None);
    assert!(shown.contains("<sip:p;x=\u{fffd}]0;y\u{fffd}>"), "{shown}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn how_it_stands_with_the_location_store_is_a_sentence() {
    let status = |location| told("location", location, "Registrations:");
    let well = r#"{"store":"/var/lib/trunkline/location.db","contacts":1234,"loaded":true,"waiting":0,"oldest_ms":0,"gone":null}"#;
    assert_eq!(
        status(well),
        "Registrations: 1,234 contacts, kept in /var/lib/trunkline/location.db"
    );
    let ill = r#"{"store":"redis","contacts":7,"loaded":false,"waiting":1200,"oldest_ms":61500,"gone":"redis gives no answer","silent":"refused"}"#;
    assert_eq!(
        status(ill),
        "Registrations: 7 contacts, kept in redis, which is still being read; 1,200 changes wait to be written, for 1 min \
         01 s\n  it takes none: redis gives no answer\n  it does not tell where users are: refused"
    );
}

#[test]
fn empty_lists_say_so() {
    assert_eq!(
        PAPER.calls(&read(r#"{"calls":[],"complete":true}"#)),
        "no calls\n"
    );
    assert_eq!(
        PAPER.flows(&read(r#"{"flows":[],"complete":true}"#)),
        "no flows\n"
    );
}

#[test]
fn a_newer_daemon_may_say_more() {
    let calls: types::Calls = read(r#"{"calls":[],"complete":true,"more":1}"#);
    assert!(calls.complete);
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory as _;
    Arguments::command().debug_assert();
    let refused = Arguments::try_parse_from(["trunkctl", "call"]).expect_err("no ID");
    assert_eq!(refused.exit_code(), 2);
    let late = Arguments::try_parse_from(["trunkctl", "calls", "--json", "--socket", "/x"])
        .expect("global options");
    assert!(late.json && late.socket == Path::new("/x"));
}

#[test]
fn where_there_is_no_daemon_it_says_what_to_do() {
    let room = tempfile::tempdir().expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let ask = |path: &Path| {
        runtime
            .block_on(get::<types::Status>(path, "/v1/status"))
            .expect_err("no daemon")
            .to_string()
    };
    let absent = room.path().join("absent.sock");
    assert!(ask(&absent).contains("there is no socket"));
    let dead = room.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("socket"));
    assert!(ask(&dead).contains("is a dead one"));
    // One that takes the connection and closes it, as the daemon does to a stranger.
    let deaf = room.path().join("deaf.sock");
    let listener = std::os::unix::net::UnixListener::bind(&deaf).expect("socket");
    let closer = std::thread::spawn(move || drop(listener.accept()));
    let expected = if nix::unistd::geteuid().is_root() {
        "trunklined closed the connection: see its log"
    } else {
        "you may not use"
    };
    assert!(ask(&deaf).contains(expected));
    closer.join().expect("closer");
}

#[test]
fn every_failure_has_its_exit_code() {
    let path = || PathBuf::from("/run/x.sock");
    let io = || std::io::Error::other("x");
    let cases = [
        (ClientError::Refused(String::new()), 1),
        (ClientError::NoSocket { path: path() }, 3),
        (ClientError::Dead { path: path() }, 3),
        (ClientError::Closed, 3),
        (ClientError::Unavailable(String::new()), 3),
        (ClientError::Silent, 3),
        (
            ClientError::Io {
                path: path(),
                error: io(),
            },
            3,
        ),
        (ClientError::NotPermitted { path: path() }, 4),
        (ClientError::Strange(String::new()), 5),
    ];
    for (error, code) in cases {
        assert_eq!(exit::of(&error), ExitCode::from(code), "{error:?}");
        assert!(exit::CODES.iter().any(|(known, _)| *known == code));
    }
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    assert_eq!(exit::of_io(&denied), ExitCode::from(4));
}

#[test]
fn the_help_ends_with_the_exit_codes_and_fits_a_terminal() {
    use clap::CommandFactory as _;
    let help = Arguments::command().render_help().to_string();
    assert!(help.contains("\n  4  you may not ask it"), "{help}");
    assert!(exit::text().lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    use clap::CommandFactory as _;
    let room = tempfile::tempdir().expect("room");
    let written = pages::man(&room.path().join("man")).expect("pages");
    let names: Vec<_> = written
        .iter()
        .filter_map(|file| file.file_name()?.to_str())
        .collect();
    for expected in [
        "trunkctl.1",
        "trunkctl-status.1",
        "trunkctl-config-check.1",
        "trunkctl-log-level.1",
        "trunklined.8",
    ] {
        assert!(names.contains(&expected), "{names:?}");
    }
    for file in &written {
        let text = std::fs::read_to_string(file).expect("page");
        assert!(text.contains(".SH \"EXIT STATUS\""), "{}", file.display());
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let text = pages::completions(shell);
        for command in Arguments::command().get_subcommands() {
            assert!(text.contains(command.get_name()), "{shell} {command}");
        }
    }
}

#[test]
fn config_check_says_what_is_wrong_to_people_and_programs() {
    let room = tempfile::tempdir().expect("room");
    let file = room.path().join("trunkline.toml");
    std::fs::write(&file, config::DEFAULT).expect("file");
    assert!(matches!(check(&file, false), Ok(text) if text.ends_with(": good\n")));
    std::fs::write(&file, config::DEFAULT.replace("poll =", "pol =")).expect("file");
    assert!(
        matches!(check(&file, false), Err(Failure::Said(text)) if text.contains("did you mean `poll`?"))
    );
    let Err(Failure::Said(json)) = check(&file, true) else {
        panic!("good?")
    };
    let said: serde_json::Value = read(&json);
    assert_eq!(
        (said["good"].as_bool(), said["errors"][0]["column"].as_u64()),
        (Some(false), Some(1))
    );
    let absent = room.path().join("absent.toml");
    assert!(
        matches!(check(&absent, false), Err(Failure::Said(text)) if text.contains("cannot read"))
    );
}

#[test]
fn how_it_stands_with_the_subscribers_store_is_a_sentence() {
    let status = |subscribers| told("subscribers", subscribers, "Subscribers:");
    assert_eq!(status("{}"), "Subscribers: nobody is being looked up");
    let ill = r#"{"waiting":1200,"oldest_ms":1500,
        "troubles":[{"store":"PostgreSQL at 10.77.3.1:5432","reason":"nothing within 2000 ms","ago_s":3}]}"#;
    assert_eq!(
        status(ill),
        "Subscribers: 1,200 are being looked up, the first for 1.5 s\n  \
         PostgreSQL at 10.77.3.1:5432 gave no answer 3.0 s ago: nothing within 2000 ms"
    );
    let never = r#"{"troubles":[{"store":"PostgreSQL at 10.77.3.1:5432","never":true,"ago_s":4,
        "reason":"db error: FATAL: password authentication failed for user \"sip\""},
        {"store":"PostgreSQL at 10.77.3.2:5432","reason":"nothing within 2000 ms","ago_s":130}]}"#;
    insta::assert_snapshot!(status(never));
}

#[test]
fn bans() {
    let bans = read(
        r#"{"bans":[
          {"source":"10.77.1.2","since_s":70,"expires_in_s":530,"failures":10,"dropped":123456},
          {"source":"2001:db8:1:2::/64","since_s":0,"expires_in_s":86400,"failures":11,"dropped":0}],
        "complete":true}"#,
    );
    insta::assert_snapshot!(PAPER.bans(&bans));
    let nobody = PAPER.bans(&types::Bans::default());
    assert!(nobody.starts_with("Nobody is banned.\n"), "{nobody}");
}

#[test]
fn all_that_is_known_of_a_subscriber() {
    let known = read(
        r#"{"user":"bob","domain":"example.org",
        "stored":{"answer":"known","algorithms":["MD5","SHA-256"],"lacking":[],"error":null,"took_ms":3},
        "workers":[
          {"worker":0,"belief":"nothing"},
          {"worker":1,"belief":"known","since_s":12,"expires_in_s":588,"proved_s":4}],
        "calls":1,"calls_max":50,
        "denial":{"user":"bob","domain":"example.org","count":14,"since_s":190,"last_s":12,"source":"10.77.1.66:5060",
          "reason":"password","because":"wrong password"},
        "registrations":[
          {"user":"bob","domain":"example.org","contact":"sip:bob@192.0.2.7:5062","parameters":"","path":"",
           "received":"198.51.100.1:40000","listen":"access","expires_s":3599,"q":1.0,"worker":1}],
        "bans":[{"source":"10.77.1.66","since_s":70,"expires_in_s":530,"failures":10,"dropped":123456}],
        "complete":true}"#,
    );
    insta::assert_snapshot!(PAPER.dossier(&known));
    let unknown = read(
        r#"{"user":"eve","domain":"example.org",
        "stored":{"answer":"no answer","error":"postgres 10.77.3.1:5432/sip gives no answer: it is silent","took_ms":2000},
        "workers":[{"worker":0,"belief":"unknown","since_s":50,"expires_in_s":10}],
        "calls":0,"calls_max":0,"denial":null,"registrations":[],"bans":[],"complete":false}"#,
    );
    insta::assert_snapshot!(PAPER.dossier(&unknown));
    let elsewhere = read(
        r#"{"user":"eve","domain":"example.org","stored":null,"workers":[],
        "calls":0,"calls_max":50,"denial":null,"registrations":[],"bans":[],"complete":true}"#,
    );
    insta::assert_snapshot!(PAPER.dossier(&elsewhere));
}

#[test]
fn denials() {
    let all = read(
        r#"{"denials":[
          {"user":"bob","domain":"example.org","count":1400,"since_s":190,"last_s":12,"source":"10.77.1.66:5060",
          "reason":"password","because":"wrong password"},
          {"user":"eve","domain":"example.org","count":1,"since_s":7200,"last_s":7200,"source":"[2001:db8::7]:5060",
          "reason":"nobody","because":"the store knows no such subscriber"}],"complete":true}"#,
    );
    insta::assert_snapshot!(PAPER.denials(&all));
    let none = PAPER.denials(&types::Denials::default());
    assert!(none.starts_with("No subscriber was refused"), "{none}");
}
