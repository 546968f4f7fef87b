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
use crate::api::types::TableRow;
use crate::cli::rates::Rates;

/// The stages in the order in which a frame meets them; the last is for those of a daemon
/// that does not name them.
const STAGES: [&str; 7] = ["rings", "network", "mail", "SIP", "media", "worker", ""];

/// Most workers that have a column each; more would not fit.
const WORKER_COLUMNS_MAX: usize = 4;

/// A count as a person reads it.
fn count(row: &CounterRow, n: u64) -> String {
    match row.name.ends_with("_ns") {
        true => duration(n as f64 / 1e9),
        false => number(n),
    }
}

impl Paper {
    /// `trunkctl stats`; rows that are zero only with `all`, and with `rates` what each grows
    /// by instead of every worker's share.
    #[must_use]
    pub fn stats(self, stats: &Stats, rates: Option<&Rates>, all: bool) -> String {
        let mut text = self.counters(&stats.counters, rates, all);
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
        text += &self.recent(&stats.latency);
        text += &self.memory(&stats.memory);
        let rows = stats.operator.rows().into_iter();
        let rows: Vec<_> = rows
            .filter(|row| all || row.count > 0)
            .map(|row| vec![row.name.to_owned(), number(row.count), row.help.to_owned()])
            .collect();
        if !rows.is_empty() {
            text += "\nControl\n";
            text += &self.table(&[Word("counter"), Number("total"), Text("meaning")], rows);
        }
        text + &self.sums(&stats.sums, &stats.unchecked) + missing(stats.complete)
    }

    /// Grouped by stage; a worker's own column where that says more than the total.
    fn counters(self, counters: &[CounterRow], rates: Option<&Rates>, all: bool) -> String {
        let mut text = String::new();
        for stage in STAGES {
            let of_stage = counters.iter().filter(|row| row.stage == stage);
            let shown: Vec<_> = of_stage.filter(|row| all || row.total > 0).collect();
            let Some(first) = shown.first() else { continue };
            let workers = match first.workers.len() {
                many @ 2..=WORKER_COLUMNS_MAX => many,
                _ => 0,
            };
            let titles: Vec<_> = (0..workers).map(|worker| format!("w{worker}")).collect();
            let mut columns = vec![Word("counter"), Word("kind"), Number("total")];
            match rates {
                Some(_) => columns.push(Number("per s")),
                None => columns.extend(titles.iter().map(|title| Number(title))),
            }
            columns.push(Text("meaning"));
            let rows = shown.iter().map(|row| {
                let mut cells = vec![row.name.clone(), row.kind.clone(), count(row, row.total)];
                match rates {
                    Some(rates) => cells.push(rates.of(row)),
                    None => {
                        let own = row.workers.iter().take(workers);
                        cells.extend(own.map(|&n| count(row, n)));
                    }
                }
                cells.push(row.help.clone());
                cells
            });
            let title = match stage {
                "" => "other",
                named => named,
            };
            let _ = write!(text, "Workers: {title}\n{}\n", self.table(&columns, rows));
        }
        match text.is_empty() {
            true => "Workers: nothing counted yet\n".to_owned(),
            false => text.trim_end().to_owned() + "\n",
        }
    }

    /// What the tables of SIP cost each worker.
    fn memory(self, tables: &[TableRow]) -> String {
        if tables.is_empty() {
            return String::new();
        }
        let columns = [
            Word("table"),
            Number("entries"),
            Number("bytes each"),
            Number("KiB"),
            Text("meaning"),
        ];
        let kib = |bytes: u64| number(bytes.div_ceil(1024));
        let rows = tables.iter().map(|table| {
            vec![
                table.name.clone(),
                number(table.entries),
                number(table.entry_bytes),
                kib(table.bytes),
                table.help.clone(),
            ]
        });
        let total = tables.iter().map(|table| table.bytes).sum();
        let total = ["total", "", "", &kib(total), ""]
            .map(str::to_owned)
            .to_vec();
        format!(
            "\nSIP tables of each worker, allocated at its start\n{}",
            self.table(&columns, rows.chain([total]))
        )
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
