//! What the workers report, and what becomes of it.

use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::mailbox::Report;

use super::Desk;

impl Desk {
    /// Reads what the workers have reported, and sends what they have handed over.
    pub(super) fn read_reports(&mut self) {
        self.send_by_kernel();
        for worker in 0..self.workers.posts.len() {
            self.read_letters(worker);
            // To the level seen now: a worker cannot keep us here for ever.
            for _ in 0..self.workers.posts[worker].reports.slots() {
                let Ok(report) = self.workers.posts[worker].reports.pop() else {
                    break;
                };
                match report {
                    // Freed here, where that may take time.
                    Report::Network(old) => drop(old),
                    Report::CaptureOver(order) => {
                        let id = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
                        self.capturing.over(id, &order);
                    }
                    Report::Samples(samples) => self.sampling.take(worker, samples),
                    Report::Solicit { interface, address } => self.want(interface, address),
                    Report::Ask { question, who } => {
                        let id = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
                        let posts = &mut self.workers.posts;
                        self.asking.ask((id, question), who, posts);
                    }
                    Report::Seek(of) => {
                        let id = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
                        self.locating.seek(id, of, &mut self.workers.posts);
                    }
                    other => {
                        if matches!(other, Report::End { .. }) {
                            // Its rows were there before it.
                            self.read_letters(worker);
                        }
                        let id = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
                        self.queries.report(id, &other, &mut self.workers.posts);
                    }
                }
            }
        }
    }

    pub(super) fn read_letters(&mut self, worker: usize) {
        let Some(post) = self.workers.posts.get_mut(worker) else {
            return;
        };
        let id = WorkerId(u8::try_from(worker).unwrap_or(u8::MAX));
        let queries = &mut self.queries;
        self.locating.read_letters(post, |query, registration| {
            queries.registration(query, id, registration);
        });
    }
}
