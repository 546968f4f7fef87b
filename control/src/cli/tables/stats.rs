//! `trunkctl stats`.

use std::fmt::Write as _;

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::duration;
use super::missing;
use super::number;
use crate::api::types::CounterRow;
use crate::api::types::Stats;

impl Paper {
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
                "captures_lost",
                operator.captures_lost,
                "Captured packets that whoever asked for them did not take in time.",
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
}
