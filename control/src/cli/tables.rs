//! What a person sees: tables with units, and sentences where there is nothing.

use std::fmt::Write as _;

use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::ColumnConstraint;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;

use crate::api::types::Call;
use crate::api::types::Calls;
use crate::api::types::CounterRow;
use crate::api::types::Flow;
use crate::api::types::Flows;
use crate::api::types::Leg;
use crate::api::types::Stats;
use crate::api::types::Status;
use crate::api::types::Sum;

/// Where the tables go.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// True where they may be fitted to the terminal's width.
    pub fit: bool,
}

/// How a column stands.
#[derive(Clone, Copy)]
enum Column {
    /// Text that may be broken over lines where the terminal is narrow.
    Text(&'static str),
    /// A name or an address: broken it could not be copied.
    Word(&'static str),
    /// To the right, and never broken.
    Number(&'static str),
}
use Column::Number;
use Column::Text;
use Column::Word;

impl Paper {
    fn table(self, columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if !self.fit {
            table.force_no_tty();
        }
        let cell = |column: &Column, text: String| match column {
            Text(_) | Word(_) => Cell::new(text),
            Number(_) => Cell::new(text).set_alignment(CellAlignment::Right),
        };
        let title = |column: &Column| match column {
            Text(title) | Word(title) | Number(title) => cell(column, (*title).to_owned()),
        };
        table.set_header(columns.iter().map(title));
        for row in rows {
            table.add_row(
                columns
                    .iter()
                    .zip(row)
                    .map(|(column, text)| cell(column, text)),
            );
        }
        for (index, column) in columns.iter().enumerate() {
            if let (Word(_) | Number(_), Some(shown)) = (column, table.column_mut(index)) {
                shown.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        // No blank at the end of a line: it would wrap in a narrow terminal.
        table.lines().fold(String::new(), |mut text, line| {
            text.push_str(line.trim_end());
            text.push('\n');
            text
        })
    }

    /// `trunkctl status`
    #[must_use]
    pub fn status(self, status: &Status) -> String {
        let up = duration(status.uptime_s as f64);
        let mut text = format!(
            "trunklined {}, process {}, up {up}\n\nWorkers\n",
            status.version, status.pid
        );
        let columns = [
            Number("worker"),
            Number("core"),
            Word("poll"),
            Number("busy"),
            Number("calls"),
            Number("transactions"),
            Number("flows"),
            Word("frames in"),
        ];
        text += &self.table(
            &columns,
            status.workers.iter().map(|worker| {
                vec![
                    worker.id.to_string(),
                    worker
                        .core
                        .map_or_else(|| "any".to_owned(), |core| core.to_string()),
                    worker.poll.clone(),
                    worker
                        .busy_percent
                        .map_or_else(|| "-".to_owned(), |busy| format!("{busy:.1} %")),
                    number(worker.calls),
                    number(worker.transactions),
                    number(worker.flows),
                    worker.memory.clone(),
                ]
            }),
        );
        text += "\nInterfaces\n";
        let columns = [
            Word("name"),
            Word("device"),
            Word("link"),
            Word("XDP"),
            Word("frames"),
            Number("queues"),
            Number("MTU"),
        ];
        text += &self.table(
            &columns,
            status.interfaces.iter().map(|interface| {
                vec![
                    interface.name.clone(),
                    interface.device.clone(),
                    interface.link.clone(),
                    interface.mode.clone(),
                    interface.frames.clone(),
                    interface.queues.to_string(),
                    number(u64::from(interface.mtu)),
                ]
            }),
        );
        text += &self.sums(&status.sums, &status.unchecked);
        text += missing(status.complete);
        if !status.warnings.is_empty() {
            text += "\nWarnings\n";
            for warning in &status.warnings {
                let _ = writeln!(text, " - {warning}");
            }
        }
        text
    }

    fn sums(self, sums: &[Sum], unchecked: &[String]) -> String {
        let rows = sums.iter().map(|sum| {
            let verdict = match sum.difference {
                0 => "exact".to_owned(),
                more if more > 0 => format!("{} under way", number(sum.difference.unsigned_abs())),
                _ => format!("{} too many", number(sum.difference.unsigned_abs())),
            };
            vec![
                sum.name.clone(),
                number(sum.left),
                number(sum.right),
                verdict,
            ]
        });
        let rows = rows.chain(unchecked.iter().map(|name| {
            let none = || "-".to_owned();
            vec![name.clone(), none(), none(), "not checked".to_owned()]
        }));
        let columns = [
            Text("sum"),
            Number("left"),
            Number("right"),
            Word("verdict"),
        ];
        format!("\nSums\n{}", self.table(&columns, rows))
    }

    /// `trunkctl stats`; rows that are zero only with `all`.
    #[must_use]
    pub fn stats(self, stats: &Stats, all: bool) -> String {
        let mut text = self.counters(&stats.counters, all);
        for xdp in &stats.xdp {
            let rows = xdp.verdicts.iter().filter(|row| all || row.count > 0);
            let rows = rows.map(|row| {
                vec![
                    row.name.clone(),
                    row.action.clone(),
                    number(row.count),
                    row.help.clone(),
                ]
            });
            let columns = [
                Word("verdict"),
                Word("action"),
                Number("frames"),
                Text("meaning"),
            ];
            let _ = writeln!(
                text,
                "\nXDP on {}: {} frames seen",
                xdp.interface,
                number(xdp.seen)
            );
            let rows: Vec<_> = rows.collect();
            if !rows.is_empty() {
                text += &self.table(&columns, rows);
            }
        }
        text += "\nAF_XDP sockets, as the kernel counts\n";
        text += &self.sockets(stats);
        let operator = &stats.operator;
        let rows = [
            (
                "connections",
                operator.connections,
                "Connections to the operator's socket.",
            ),
            (
                "refused",
                operator.refused,
                "Connections of users who may not use it.",
            ),
            (
                "kernel_datagrams",
                operator.kernel_datagrams,
                "Datagrams that reached the kernel's sockets.",
            ),
            (
                "kernel_dropped",
                operator.kernel_dropped,
                "Of these, dropped because the worker's mailbox was full.",
            ),
            (
                "networks",
                operator.networks,
                "Changes of links, routes and neighbours handed to the workers.",
            ),
            (
                "tasks_failed",
                operator.tasks_failed,
                "Tasks of control that met a bug.",
            ),
        ];
        let rows = rows.iter().filter(|(_, count, _)| all || *count > 0);
        let rows: Vec<_> = rows
            .map(|(name, count, help)| vec![(*name).to_owned(), number(*count), (*help).to_owned()])
            .collect();
        if !rows.is_empty() {
            text += "\nControl\n";
            text += &self.table(&[Word("counter"), Number("total"), Text("meaning")], rows);
        }
        text + &self.sums(&stats.sums, &stats.unchecked) + missing(stats.complete)
    }

    fn counters(self, counters: &[CounterRow], all: bool) -> String {
        let shown: Vec<_> = counters.iter().filter(|row| all || row.total > 0).collect();
        if shown.is_empty() {
            return "Workers: nothing counted yet\n".to_owned();
        }
        // Each worker's own column where that says more than the total.
        let workers = shown.first().map_or(0, |row| row.workers.len());
        const TITLES: [&str; 8] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"];
        let own: &[&str] = if workers > 1 {
            TITLES.get(..workers).unwrap_or_default()
        } else {
            &[]
        };
        let mut columns = vec![Word("counter"), Word("kind"), Number("total")];
        columns.extend(own.iter().map(|title| Number(title)));
        columns.push(Text("meaning"));
        let rows = shown.iter().map(|row| {
            let count = |n: u64| {
                if row.name.ends_with("_ns") {
                    duration(n as f64 / 1e9)
                } else {
                    number(n)
                }
            };
            let mut cells = vec![row.name.clone(), row.kind.clone(), count(row.total)];
            cells.extend(row.workers.iter().take(own.len()).map(|&n| count(n)));
            cells.push(row.help.clone());
            cells
        });
        format!("Workers\n{}", self.table(&columns, rows))
    }

    fn sockets(self, stats: &Stats) -> String {
        let columns = [
            Word("interface"),
            Number("queue"),
            Number("worker"),
            Number("rx dropped"),
            Number("rx ring full"),
            Number("no frame to fill"),
            Number("rx invalid"),
            Number("tx invalid"),
        ];
        self.table(
            &columns,
            stats.sockets.iter().map(|socket| {
                vec![
                    socket.interface.clone(),
                    socket.queue.to_string(),
                    socket.worker.to_string(),
                    number(socket.rx_dropped),
                    number(socket.rx_ring_full),
                    number(socket.rx_fill_ring_empty_descs),
                    number(socket.rx_invalid_descs),
                    number(socket.tx_invalid_descs),
                ]
            }),
        )
    }

    /// `trunkctl calls`
    #[must_use]
    pub fn calls(self, calls: &Calls) -> String {
        let columns = [
            Word("Call-ID"),
            Word("state"),
            Word("parties"),
            Word("trunks"),
            Number("worker"),
            Number("age"),
        ];
        let rows = calls.calls.iter().map(|call| {
            vec![
                call.id.clone(),
                call.state.clone(),
                format!("{} → {}", user(&call.from), user(&call.to)),
                trunks(call),
                call.worker.to_string(),
                duration(call.age_s),
            ]
        });
        let text = match calls.calls.len() {
            0 => "no calls\n".to_owned(),
            count => format!(
                "{}\n{}\n",
                self.table(&columns, rows),
                plural(count, "call")
            ),
        };
        text + incomplete(calls.complete)
    }

    /// `trunkctl call ID`
    #[must_use]
    pub fn call(self, call: &Call) -> String {
        let mut text = String::new();
        let talk = call
            .talk_s
            .map_or_else(|| "not answered".to_owned(), duration);
        for (name, value) in [
            ("Call-ID", call.id.clone()),
            ("state", call.state.clone()),
            ("from", call.from.clone()),
            ("to", call.to.clone()),
            ("trunks", trunks(call)),
            ("worker", call.worker.to_string()),
            ("age", duration(call.age_s)),
            ("answered for", talk),
        ] {
            let _ = writeln!(text, "{name:<13} {value}");
        }
        if call.streams.is_empty() {
            text += "\nno media\n";
        }
        for (index, stream) in (1..).zip(&call.streams) {
            let _ = writeln!(text, "\nStream {index}");
            let columns = [
                Word("side"),
                Word("its media"),
                Word("our port"),
                Word("kind"),
                Number("packets in"),
                Number("forwarded"),
                Number("dropped"),
            ];
            let rows = legs("caller", &stream.caller)
                .into_iter()
                .chain(legs("callee", &stream.callee));
            text += &self.table(&columns, rows);
        }
        text
    }

    /// `trunkctl flows`
    #[must_use]
    pub fn flows(self, flows: &Flows) -> String {
        let columns = [
            Word("our port"),
            Word("kind"),
            Word("from"),
            Word("to"),
            Number("owner"),
            Number("packets in"),
            Number("forwarded"),
            Number("dropped"),
        ];
        let rows = flows.flows.iter().map(|flow| {
            vec![
                flow.local.clone(),
                flow.kind.clone(),
                known(flow.source.as_deref()),
                known(flow.destination.as_deref()),
                flow.owner.to_string(),
                number(flow.packets_in),
                number(flow.packets_out),
                number(flow.packets_dropped),
            ]
        });
        let text = match flows.flows.len() {
            0 => "no flows\n".to_owned(),
            count => format!(
                "{}\n{}\n",
                self.table(&columns, rows),
                plural(count, "flow")
            ),
        };
        text + incomplete(flows.complete)
    }
}

/// A row for each flow of this side, or one without counts where there is none.
fn legs(side: &str, leg: &Leg) -> Vec<Vec<String>> {
    let row = |flow: &Flow| {
        vec![
            side.to_owned(),
            known(flow.source.as_deref()),
            flow.local.clone(),
            flow.kind.clone(),
            number(flow.packets_in),
            number(flow.packets_out),
            number(flow.packets_dropped),
        ]
    };
    if leg.flows.is_empty() {
        let none = || "-".to_owned();
        let peer = known(leg.peer.as_deref());
        let closed = "closed".to_owned();
        return vec![vec![
            side.to_owned(),
            peer,
            leg.relay.clone(),
            closed,
            none(),
            none(),
            none(),
        ]];
    }
    leg.flows.iter().map(row).collect()
}

/// The user of a SIP URI, or its host where it names no user: what fits a row.
fn user(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let end = rest.find(['@', ';', '?']).unwrap_or(rest.len());
    &rest[..end]
}

fn trunks(call: &Call) -> String {
    let name = |trunk: &Option<String>| trunk.clone().unwrap_or_else(|| "?".to_owned());
    format!("{} → {}", name(&call.caller), name(&call.callee))
}

fn known(address: Option<&str>) -> String {
    address.unwrap_or("-").to_owned()
}

fn incomplete(complete: bool) -> &'static str {
    if complete {
        ""
    } else {
        "A worker did not answer in time: there may be more.\n"
    }
}

fn missing(complete: bool) -> &'static str {
    if complete {
        ""
    } else {
        "Figures are missing: a worker did not answer, or an XDP program's counts could not be read.\n"
    }
}

fn plural(count: usize, what: &str) -> String {
    format!(
        "{} {what}{}",
        number(count as u64),
        if count == 1 { "" } else { "s" }
    )
}

/// 1234567 as 1,234,567.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn duration(seconds: f64) -> String {
    // Negative and endless ones do not come; a cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole / 3600 % 24),
    }
}
