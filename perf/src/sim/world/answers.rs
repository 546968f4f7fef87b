//! The store of subscribers, between the workers of the first box and its oracle.

use super::World;
use super::crowd::CACHED;
use super::in_box;
use crate::sim::Crowd;
use crate::sim::oracle::Fault;
use crate::sim::phone;
use crate::sim::phone::Kind;
use crate::sim::store::Answer;

impl World {
    /// The workers learn of whom they know from their start on.
    pub(super) fn warm_up(&mut self) {
        if self.options.crowd != Some(Crowd::Storm) {
            return;
        }
        for worker in 0..self.boxes[0].worker_count() {
            let users = (0..CACHED).filter_map(|number| usize::try_from(number).ok());
            for user in users.map(|number| phone::user(Kind::Cached, number)) {
                if let Some(answer) = Answer::unasked(worker, &user) {
                    self.tell(&answer);
                }
            }
        }
    }

    /// Gives the workers the answers that are due.
    pub(super) fn answer_questions(&mut self) {
        while let Some(answer) = self.store.take(self.now) {
            self.trace.word(self.now.0);
            self.tell(&answer);
        }
    }

    fn tell(&mut self, answer: &Answer) {
        if !self.boxes[0].answer(answer) {
            self.store.keep(self.now, *answer);
            return;
        }
        let to = answer.to;
        let whom = (to.worker, to.user());
        self.oracles[0].hears(self.now, (whom.0, &whom.1), to.question, answer.exists());
    }

    /// Takes what the workers of a box have asked.
    pub(super) fn take_questions(&mut self, at: usize) -> Result<(), Fault> {
        for question in std::mem::take(&mut self.boxes[at].asked) {
            let user = question.user();
            self.oracles[at]
                .asks(self.now, (question.worker, &user), question.question)
                .map_err(|fault| in_box(at, &fault))?;
            self.store.ask(self.now, question);
        }
        Ok(())
    }
}
