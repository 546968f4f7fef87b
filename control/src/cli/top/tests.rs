//! The screen in several sizes, and what keys do to it.

use super::*;
use crate::api::types;

fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("canned JSON")
}

fn look(sip_malformed: u64) -> Look {
    let stats = format!(
        r#"{{"counters":[
        {{"name":"sip_sent","kind":"sent","help":"","total":7000,"workers":[4000,3000]}},
        {{"name":"rtp_forwarded","kind":"forwarded","help":"","total":400000,"workers":[200000,200000]}},
        {{"name":"rtcp_forwarded","kind":"forwarded","help":"","total":0,"workers":[0,0]}},
        {{"name":"media_source_unknown","kind":"dropped","help":"","total":5,"workers":[5,0]}},
        {{"name":"sip_malformed","kind":"dropped","help":"","total":{sip_malformed},"workers":[0,0]}},
        {{"name":"sip_over_mtu","kind":"not sent","help":"","total":0,"workers":[0,0]}},
        {{"name":"calls_now","kind":"now","help":"","total":1234,"workers":[600,634]}},
        {{"name":"calls_started","kind":"event","help":"","total":100000,"workers":[50000,50000]}},
        {{"name":"frames_free","kind":"now","help":"","total":16384,"workers":[8192,8192]}}],
      "xdp":[{{"interface":"access","seen":9,"verdicts":[
        {{"name":"redirect_sip","action":"redirect","help":"","count":9000}},
        {{"name":"redirect_media","action":"redirect","help":"","count":400005}},
        {{"name":"drop_no_worker_media","action":"drop","help":"","count":2}}]}}],
      "sockets":[{{"interface":"access","queue":0,"worker":0,"rx_dropped":0,"rx_invalid_descs":0,"tx_invalid_descs":0,
        "rx_ring_full":12,"rx_fill_ring_empty_descs":0,"tx_ring_empty_descs":0}}],
      "operator":{{"connections":3,"refused":0,"kernel_datagrams":0,"kernel_dropped":0,"networks":0}},
      "sums":[],"complete":true}}"#
    );
    let interface = r#"{"name":"access","device":"eth0","link":"up","mode":"native","frames":"zero-copy","queues":2,"mtu":1500,
        "mac":null,"addresses":[],"xdp":{"seen":405507,"pass":500,"drop":2,"redirect":405005}}"#;
    Look {
        at: std::time::Instant::now(),
        status: read(&format!(
            r#"{{"version":"0.1.0","pid":4711,"uptime_s":3784,
            "workers":[
              {{"id":0,"core":0,"poll":"adaptive","busy_percent":62.5,"calls":600,"transactions":20,"flows":4000,"memory":"hugepages"}},
              {{"id":1,"core":1,"poll":"adaptive","busy_percent":0.0,"calls":634,"transactions":0,"flows":4000,"memory":"hugepages"}}],
            "interfaces":[{interface}],
            "sums":[{{"name":"workers: in = Σ outcomes","left":10,"right":8,"difference":2}}],
            "complete":true,"warnings":["frames are copied: the driver says so"]}}"#
        )),
        stats: read(&stats),
        health: read(r#"{"healthy":true,"ready":true,"reasons":[]}"#),
        interfaces: read(&format!(r#"{{"interfaces":[{interface}]}}"#)),
        latency: types::Latency {
            recent_s: 60,
            stages: vec![types::LatencyRow {
                stage: "media".to_owned(),
                help: String::new(),
                recent: types::Percentiles {
                    samples: 10,
                    p50_us: 1.25,
                    p99_us: 12.0,
                    max_us: 250.0,
                    ..types::Percentiles::default()
                },
                since_start: types::Percentiles::default(),
            }],
        },
        talkers: read(
            r#"{"recent_s":60,"talkers":[{"address":"10.77.1.2:5060","messages":10,"dropped":1,"share_percent":66.7}]}"#,
        ),
    }
}

/// After two looks, a second apart.
fn model() -> Model {
    let mut model = Model::default();
    let mut first = look(0);
    first.stats.counters[1].total -= 20_000;
    first.stats.counters[7].total -= 50;
    let mut second = look(100);
    second.at = first.at + Duration::from_secs(1);
    model.see(first);
    model.see(second);
    model
}

fn screen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal
        .draw(|frame| screen::draw(frame, model))
        .expect("a frame");
    text(terminal.backend().buffer())
}

#[test]
fn it_fits_80_by_24() {
    insta::assert_snapshot!(screen(&model(), 80, 24));
}

#[test]
fn a_large_terminal_shows_every_page() {
    insta::assert_snapshot!(screen(&model(), 120, 42));
}

#[test]
fn every_page_fits_80_by_24() {
    let mut model = model();
    let mut pages = String::new();
    for _ in 1..panels::PAGES.len() {
        model.turn_page(1);
        let lines = screen(&model, 80, 24);
        pages.extend(lines.lines().skip(13).map(|line| format!("{line}\n")));
    }
    insta::assert_snapshot!(pages);
    model.turn_page(1);
    assert_eq!(model.page, 0);
    model.turn_page(-1);
    assert_eq!(model.page, panels::PAGES.len() - 1);
}

#[test]
fn no_line_is_cut_at_80_columns() {
    let mut model = model();
    let look = model.look.as_mut().expect("a look");
    look.interfaces.interfaces[0].status.mode = "generic".to_owned();
    look.stats.counters[3].name = "media_rtcp_on_rtp_port".to_owned();
    look.stats.counters[3].total = 999_999_999;
    for page in &panels::PAGES {
        for line in (page.lines)(&model, 38) {
            assert!(line.width() <= 38, "{line}");
        }
    }
    for panel in [panels::drops, panels::calls, panels::traffic] {
        for line in panel(&model) {
            assert!(line.width() <= 38, "{line}");
        }
    }
    for width in [78, 118] {
        for line in panels::workers(&model, width) {
            assert_eq!(line.width(), usize::from(width));
        }
    }
    assert!(panels::keys(&model).width() <= 80);
}

#[test]
fn no_size_is_too_small() {
    let (model, empty) = (model(), Model::default());
    for width in [1, 2, 3, 10, 20, 40, 79, 81, 250] {
        for height in [1, 2, 3, 5, 8, 11, 23, 25, 39, 100] {
            screen(&model, width, height);
            screen(&empty, width, height);
        }
    }
}

#[test]
fn a_daemon_that_goes_away_is_told_and_its_return_starts_anew() {
    let mut model = Model::default();
    assert!(screen(&model, 80, 24).contains("waiting for trunklined"));
    model.see(look(0));
    model.lose(&ClientError::Silent);
    let gone = screen(&model, 80, 24);
    assert!(gone.contains("does not answer"), "{gone}");
    assert!(gone.contains("asking again every second"), "{gone}");
    assert!(gone.contains("1,234"), "what was seen last stays: {gone}");
    model.see(look(50));
    assert!(model.rates.is_none() && model.lost.is_none());
    let mut another = look(0);
    another.status.pid += 1;
    model.see(another);
    assert!(model.rates.is_none(), "another daemon's counts are no rate");
}

#[test]
fn what_is_not_ready_says_why() {
    let mut look = look(0);
    look.health.ready = false;
    look.health.reasons = vec!["the link of core (eth1) is down".to_owned()];
    let mut model = Model::default();
    model.see(look);
    assert!(screen(&model, 100, 24).contains("NOT READY: the link of core (eth1) is down"));
}

#[test]
fn what_drops_fastest_comes_first() {
    let reasons = model().reasons();
    let names: Vec<_> = reasons.iter().map(|reason| reason.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "sip_malformed",
            "ring full (kernel)",
            "media_source_unknown",
            "drop_no_worker_media"
        ]
    );
    assert_eq!(reasons[0].rate, Some(100.0));
}

#[test]
fn keys_do_what_they_say() {
    let mut model = model();
    let press = |model: &mut Model, code| press(model, KeyEvent::from(code));
    assert!(press(&mut model, KeyCode::Char('p')));
    model.see(look(999));
    assert_eq!(model.total("sip_malformed"), 100, "paused");
    assert!(screen(&model, 80, 24).contains("PAUSED"));
    assert!(press(&mut model, KeyCode::Char('p')));
    assert!(!model.is_paused);
    for _ in 0..10 {
        assert!(press(&mut model, KeyCode::Down));
    }
    assert_eq!(model.scrolled, 3, "the last reason stays in sight");
    assert!(press(&mut model, KeyCode::PageUp));
    assert_eq!(model.scrolled, 0);
    assert!(press(&mut model, KeyCode::Tab));
    assert_eq!(model.page, 1);
    assert!(press(&mut model, KeyCode::Char('x')));
    assert!(!press(&mut model, KeyCode::Char('q')));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!super::press(&mut model, interrupt));
}

#[test]
fn a_store_that_is_gone_stands_before_the_warnings() {
    let notice = |status: &str| {
        let mut look = look(0);
        let status: serde_json::Value = read(status);
        let mut whole = serde_json::to_value(&look.status).expect("JSON");
        for (key, value) in status.as_object().expect("a table") {
            whole[key] = value.clone();
        }
        look.status = serde_json::from_value(whole).expect("a status");
        let mut model = Model::default();
        model.see(look);
        panels::notice(&model).to_string()
    };
    assert_eq!(
        notice("{}"),
        "warning: frames are copied: the driver says so"
    );
    let subscribers =
        r#""subscribers":{"troubles":[{"store":"Redis at ::1","reason":"refused","ago_s":3}]}"#;
    assert_eq!(
        notice(&format!("{{{subscribers}}}")),
        "Redis at ::1 gave no answer 3 s ago: refused"
    );
    assert_eq!(
        notice(&format!(
            r#"{{{subscribers},"location":{{"silent":"no route"}}}}"#
        )),
        "the location store is gone: no route"
    );
    assert_eq!(
        notice(r#"{"location":{"store":"redis"},"subscribers":{}}"#),
        "warning: frames are copied: the driver says so"
    );
}
