//! `trunkctl workers` and `frames`.

use super::Number;
use super::Paper;
use super::Word;
use super::duration;
use super::number;
use crate::api::types::Frames;
use crate::api::types::Ledger;
use crate::api::types::Parts;
use crate::api::types::WorkerFrames;
use crate::api::types::Workers;

impl Paper {
    /// `trunkctl workers`
    #[must_use]
    pub fn workers(self, workers: &Workers) -> String {
        let columns = [
            Number("worker"),
            Number("core"),
            Word("poll"),
            Number("busy"),
            Number("turns/s"),
            Number("sleeps/s"),
            Number("last turn"),
            Word("frames in"),
        ];
        let rows = workers.workers.iter().map(|worker| {
            let status = &worker.status;
            let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), whole);
            vec![
                status.id.to_string(),
                super::core(status.core),
                status.poll.clone(),
                super::busy(status.busy_percent),
                rate(worker.turns_per_s),
                rate(worker.sleeps_per_s),
                format!("{} ago", duration(worker.turned_s_ago)),
                status.memory.clone(),
            ]
        });
        let mut text = self.table(&columns, rows);
        text += "\nWhat they own, and SIP messages handed from one to the other\n";
        let columns = [
            Number("worker"),
            Number("calls"),
            Number("transactions"),
            Number("flows"),
            Number("mail in"),
            Number("mail out"),
            Number("from the kernel"),
        ];
        let rows = workers.workers.iter().map(|worker| {
            vec![
                worker.status.id.to_string(),
                number(worker.status.calls),
                number(worker.status.transactions),
                number(worker.status.flows),
                number(worker.mail_in),
                number(worker.mail_out),
                number(worker.kernel_in),
            ]
        });
        text + &self.table(&columns, rows)
    }

    /// `trunkctl frames`
    #[must_use]
    pub fn frames(self, frames: &Frames) -> String {
        let mut text = "Where the frames of each worker are\n".to_owned();
        let columns = [
            Number("worker"),
            Number("total"),
            Number("free"),
            Number("fill"),
            Number("held"),
            Number("rx"),
            Number("tx"),
            Number("completion"),
            Word("verdict"),
        ];
        let rows = frames.workers.iter().map(|worker| {
            let Ledger {
                total,
                free,
                fill,
                held,
                rx,
                tx,
                completion,
                difference,
            } = worker.ledger;
            let mut row = vec![worker.worker.to_string()];
            row.extend([total, free, fill, held, rx, tx, completion].map(number));
            row.push(super::verdict(difference));
            row
        });
        text += &self.table(&columns, rows);
        text += "\nWhat came in\n";
        text += &self.parts(frames, |worker| &worker.came_in, None);
        text += "\nHow it ended\n";
        text += &self.parts(
            frames,
            |worker| &worker.ended,
            Some(|worker| worker.in_difference),
        );
        text += "\nSIP messages to be sent\n";
        let columns = [
            Number("worker"),
            Number("to send"),
            Number("sent"),
            Number("not sent"),
            Word("verdict"),
        ];
        let rows = frames.workers.iter().map(|worker| {
            let sent = worker.disposed.by.iter().find(|part| part.name == "sent");
            let sent = sent.map_or(0, |part| part.count);
            vec![
                worker.worker.to_string(),
                number(worker.to_send),
                number(sent),
                number(worker.disposed.sum - sent),
                super::verdict(worker.out_difference),
            ]
        });
        text + &self.table(&columns, rows)
    }

    /// A sum of each worker's, with a column for each part.
    fn parts(
        self,
        frames: &Frames,
        of: impl Fn(&WorkerFrames) -> &Parts,
        difference: Option<fn(&WorkerFrames) -> i64>,
    ) -> String {
        let names: Vec<String> = frames.workers.first().map_or_else(Vec::new, |worker| {
            let parts = of(worker).by.iter();
            // A title of two words takes two lines: 80 columns are to hold the verdict "12 under way" as well.
            parts.map(|part| part.name.replace(' ', "\n")).collect()
        });
        let mut columns = vec![Number("worker"), Number("sum")];
        columns.extend(names.iter().map(|name| Number(name)));
        if difference.is_some() {
            columns.push(Word("verdict"));
        }
        let rows = frames.workers.iter().map(|worker| {
            let parts = of(worker);
            let mut row = vec![worker.worker.to_string(), number(parts.sum)];
            row.extend(parts.by.iter().map(|part| number(part.count)));
            if let Some(difference) = difference {
                row.push(super::verdict(difference(worker)));
            }
            row
        });
        self.table(&columns, rows)
    }
}

/// A rate without a fraction.
fn whole(rate: f64) -> String {
    // Rates are neither negative nor endless; a cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    number(rate as u64)
}
