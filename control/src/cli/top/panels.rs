//! The text of each panel. A panel is a title and lines; where it stands is the screen's
//! affair.

use ratatui::style::Stylize as _;
use ratatui::text::Line;
use ratatui::text::Span;

use super::look::Look;
use super::model::Model;
use crate::api::types::Status;
use crate::cli::rates::per_second;
use crate::cli::tables::duration;
use crate::cli::tables::number;

/// A panel of which one is shown where there is no room for all.
pub(super) struct Page {
    pub title: &'static str,
    /// Its lines for so many columns. Half a screen of 80 has 38 of them.
    pub lines: fn(&Model, usize) -> Vec<Line<'static>>,
}

/// They, in the order in which the tab key turns them.
pub(super) const PAGES: [Page; 4] = [
    Page {
        title: "Interfaces",
        lines: interfaces,
    },
    Page {
        title: "Delay",
        lines: delay,
    },
    Page {
        title: "Talkers",
        lines: talkers,
    },
    Page {
        title: "Frames",
        lines: frames,
    },
];

/// The line at the top: who it is, and how it is.
pub(super) fn title(model: &Model) -> Line<'static> {
    let Some(look) = &model.look else {
        return Line::from("trunkctl top");
    };
    let status = &look.status;
    let up = duration(status.uptime_s as f64);
    let mut spans = vec![
        format!("trunklined {}", status.version).bold(),
        Span::raw(format!("  process {}  up {up}  ", status.pid)),
    ];
    match (look.health.ready, look.health.reasons.first()) {
        _ if model.lost.is_some() => spans.push("NO ANSWER".red().bold()),
        (true, _) => spans.push(Span::raw("ready")),
        (false, reason) => {
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            spans.push(format!("NOT READY{reason}").red().bold());
        }
    }
    if model.is_paused {
        spans.push("  PAUSED".bold());
    }
    Line::from(spans)
}

/// The second line: what is wrong with the picture.
pub(super) fn notice(model: &Model) -> Line<'static> {
    if let Some(lost) = &model.lost {
        return Line::from(format!("asking again every second: {lost}").red());
    }
    match &model.look {
        None => Line::from("waiting for trunklined"),
        Some(look) if !look.status.complete => {
            Line::from("figures are missing: a worker does not answer".red())
        }
        Some(Look { status, .. }) if trouble(status).is_some() => {
            Line::from(trouble(status).unwrap_or_default().red())
        }
        Some(look) => match look.status.warnings.as_slice() {
            [] => Line::default(),
            [one] => Line::from(format!("warning: {one}")),
            [first, rest @ ..] => {
                let all = rest.len() + 1;
                Line::from(format!("{all} warnings, all in `trunkctl status`: {first}"))
            }
        },
    }
}

/// A store that gives no answer: the first of those that the status tells of.
fn trouble(status: &Status) -> Option<String> {
    let location = status.location.as_ref().and_then(|location| {
        let reason = location.gone.as_ref().or(location.silent.as_ref())?;
        Some(format!("the location store is gone: {reason}"))
    });
    location.or_else(|| {
        let trouble = status.subscribers.as_ref()?.troubles.first()?;
        Some(format!(
            "{} gave no answer {} s ago: {}",
            trouble.store, trouble.ago_s, trouble.reason
        ))
    })
}

/// The keys.
pub(super) fn keys(model: &Model) -> Line<'static> {
    let pause = match model.is_paused {
        true => " go on  ",
        false => " pause  ",
    };
    Line::from(vec![
        "q".bold(),
        " quit  ".into(),
        "p".bold(),
        pause.into(),
        "tab".bold(),
        " next page  ".into(),
        "↑ ↓".bold(),
        " scroll the drops".into(),
    ])
}

/// Calls, and how many of them a second.
pub(super) fn calls(model: &Model) -> Vec<Line<'static>> {
    let rate = |name| rate(model.rate(name));
    vec![
        figures("calls now", &number(model.total("calls_now")), ""),
        figures(
            "started",
            &number(model.total("calls_started")),
            &rate("calls_started"),
        ),
        figures(
            "answered",
            &number(model.total("calls_answered")),
            &rate("calls_answered"),
        ),
        figures(
            "failed",
            &number(model.total("calls_failed")),
            &rate("calls_failed"),
        ),
        figures(
            "refused",
            &number(model.total("calls_refused")),
            &rate("calls_refused"),
        ),
    ]
}

/// Packets in and out.
pub(super) fn traffic(model: &Model) -> Vec<Line<'static>> {
    let xdp = |name: &str| {
        let rows = model.look.iter().flat_map(|look| &look.stats.xdp);
        let rows = rows.flat_map(|xdp| &xdp.verdicts);
        rows.filter(|row| row.name == name)
            .map(|row| row.count)
            .sum::<u64>()
    };
    let line = |title, total: u64, name| figures(title, &number(total), &rate(model.rate(name)));
    let total = |name| model.total(name);
    vec![
        line("SIP in", xdp("redirect_sip"), "redirect_sip"),
        line("SIP out", total("sip_sent"), "sip_sent"),
        line("RTP in", xdp("redirect_media"), "redirect_media"),
        line("RTP out", total("rtp_forwarded"), "rtp_forwarded"),
        line("RTCP out", total("rtcp_forwarded"), "rtcp_forwarded"),
    ]
}

/// A title, a total and what it grows by in a second: 36 columns.
fn figures(title: &str, total: &str, rate: &str) -> Line<'static> {
    Line::from(format!("{title:<10}{total:>15}{rate:>11}"))
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(
        || "- /s".to_owned(),
        |rate| format!("{} /s", per_second(rate)),
    )
}

/// A bar for each worker; `width` columns in all.
pub(super) fn workers(model: &Model, width: u16) -> Vec<Line<'static>> {
    let Some(look) = &model.look else {
        return Vec::new();
    };
    let workers = look.status.workers.iter().map(|worker| {
        let busy = worker.busy_percent.unwrap_or_default();
        let core = worker
            .core
            .map_or("any".to_owned(), |core| core.to_string());
        let calls = format!("{} calls", number(worker.calls));
        let head = format!("{:>2} core {core:<4} {busy:>5.1} % ", worker.id);
        let tail = format!(" {calls:>15} {:<8}", worker.poll);
        let room = usize::from(width).saturating_sub(head.len() + tail.len());
        let bar = bar(busy, room);
        Line::from(vec![head.into(), bar.bold(), tail.into()])
    });
    workers.collect()
}

/// A bar of `room` columns, `percent` of it full.
fn bar(percent: f64, room: usize) -> String {
    let Some(inner) = room.checked_sub(2) else {
        return String::new();
    };
    // A share of some columns; a cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let full = ((percent / 100.0 * inner as f64).round() as usize).min(inner);
    format!("[{}{}]", "|".repeat(full), " ".repeat(inner - full))
}

/// Drops by reason, from the first that is not scrolled away.
pub(super) fn drops(model: &Model) -> Vec<Line<'static>> {
    let reasons = model.reasons();
    if reasons.is_empty() {
        return vec![Line::from("nothing was dropped".dim())];
    }
    let lines = reasons.iter().skip(model.scrolled).map(|reason| {
        let rate = match reason.rate {
            Some(rate) if rate > 0.0 => format!("{}/s", per_second(rate)),
            _ => String::new(),
        };
        let line = format!("{:<22}{:>8}{rate:>8}", reason.name, short(reason.total));
        match rate.is_empty() {
            true => Line::from(line),
            false => Line::from(line.bold()),
        }
    });
    lines.collect()
}

fn interfaces(model: &Model, _width: usize) -> Vec<Line<'static>> {
    let Some(look) = &model.look else {
        return Vec::new();
    };
    let mut lines = vec![heading(format!(
        "{:<9}{:<5}{:<17}{:>7}",
        "name", "link", "XDP, frames", "queues"
    ))];
    for interface in &look.interfaces.interfaces {
        let status = &interface.status;
        let name = cut(&status.name, 8);
        let modes = format!("{} {}", status.mode, status.frames);
        let line = format!("{name:<9}{:<5}{modes:<17}{:>7}", status.link, status.queues);
        lines.push(match status.link == "up" {
            true => Line::from(line),
            false => Line::from(line.red().bold()),
        });
    }
    lines.push(heading(format!(
        "{:<9}{:>10}{:>9}{:>10}",
        "frames", "kernel", "dropped", "workers"
    )));
    for interface in &look.interfaces.interfaces {
        let name = cut(&interface.status.name, 8);
        let line = match interface.xdp {
            Some(xdp) => format!(
                "{name:<9}{:>10}{:>9}{:>10}",
                short(xdp.pass),
                short(xdp.drop),
                short(xdp.redirect)
            ),
            None => format!("{name:<9}{:>29}", "unknown"),
        };
        lines.push(Line::from(line));
    }
    lines
}

fn delay(model: &Model, _width: usize) -> Vec<Line<'static>> {
    let Some(look) = &model.look else {
        return Vec::new();
    };
    let recent_s = look.latency.recent_s;
    let title = format!("last {recent_s} s, µs");
    let mut lines = vec![heading(format!(
        "{title:<14}{:>8}{:>8}{:>8}",
        "p50", "p99", "max"
    ))];
    for row in &look.latency.stages {
        let stage = cut(&row.stage, 13);
        let of = &row.recent;
        lines.push(Line::from(match of.samples {
            0 => format!("{stage:<14}{:>8}{:>8}{:>8}", "-", "-", "-"),
            _ => format!(
                "{stage:<14}{:>8.1}{:>8.1}{:>8.1}",
                of.p50_us, of.p99_us, of.max_us
            ),
        }));
    }
    lines
}

fn talkers(model: &Model, width: usize) -> Vec<Line<'static>> {
    let Some(look) = &model.look else {
        return Vec::new();
    };
    let title = format!("SIP of the last {} s", look.talkers.recent_s);
    let room = width.saturating_sub(16).clamp(22, 50);
    let mut lines = vec![heading(format!(
        "{title:<room$}{:>8}{:>8}",
        "share", "dropped"
    ))];
    if look.talkers.talkers.is_empty() {
        lines.push(Line::from("nobody speaks SIP".dim()));
    }
    for talker in &look.talkers.talkers {
        let dropped = match talker.messages {
            0 => 0.0,
            all => talker.dropped as f64 / all as f64 * 100.0,
        };
        let address = &talker.address;
        let share = talker.share_percent;
        lines.push(Line::from(format!(
            "{address:<room$}{share:>6.1} %{dropped:>6.1} %"
        )));
    }
    lines
}

fn frames(model: &Model, _width: usize) -> Vec<Line<'static>> {
    let Some(look) = &model.look else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (in_pool, in_rings) in [("free", "rx"), ("fill", "tx"), ("held", "completion")] {
        let counted = |place: &str| {
            let count = model.total(&format!("frames_{place}"));
            format!("{place:<11}{:>7}", short(count))
        };
        let (pool, rings) = (counted(in_pool), counted(in_rings));
        lines.push(Line::from(format!("{pool}  {rings}")));
    }
    lines.push(heading(format!("{:<20}{:>18}", "sum", "difference")));
    let (exact, off): (Vec<_>, Vec<_>) = look.status.sums.iter().partition(|sum| sum.is_exact());
    for sum in off {
        // What is summed stands before the colon; the whole is in `trunkctl status`.
        let name = sum.name.split(':').next().unwrap_or_default();
        let apart = number(sum.difference.unsigned_abs());
        let verdict = match sum.difference {
            0.. => format!("{apart} under way"),
            _ => format!("{apart} too many"),
        };
        lines.push(Line::from(format!("{:<20}{verdict:>18}", cut(name, 19))));
    }
    if !exact.is_empty() {
        let title = format!("{} sums", exact.len());
        lines.push(Line::from(format!("{title:<20}{:>18}", "exact")));
    }
    lines
}

fn heading(text: String) -> Line<'static> {
    Line::from(text.dim())
}

/// At most `width` characters of `text`.
fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// A count in seven columns: millions and more are rounded.
fn short(count: u64) -> String {
    let count = match count {
        0..1_000_000 => return number(count),
        count => count as f64,
    };
    match count {
        ..1e9 => format!("{:.1} M", count / 1e6),
        ..1e12 => format!("{:.1} G", count / 1e9),
        _ => format!("{:.1} T", count / 1e12),
    }
}
