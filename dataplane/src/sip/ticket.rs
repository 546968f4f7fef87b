//! Tickets: what a transaction holds that waits for an answer from outside.
//!
//! A question is asked once, however many wait for its answer: each holds a ticket of it, in the
//! order in which they came. The answer serves them one after the other; a ticket whose deadline comes
//! first, or whose transaction ends, is given back. What is waited for, and what becomes of whoever waited,
//! is the caller's: this is only the queue at the counter.
//!
//! ```text
//!   key ─► question ─► ticket ⇄ ticket ⇄ ticket        every ticket is of one question
//! ```

use super::index::Index;
use super::slab::Id;
use super::slab::Slab;

/// Who waits, and for which question.
#[derive(Debug)]
struct Ticket<T> {
    holder: T,
    question: Id,
    next: Option<Id>,
    previous: Option<Id>,
}

#[derive(Debug)]
struct Question {
    key: u64,
    first: Option<Id>,
    last: Option<Id>,
}

/// What taking a ticket led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The question is new: ask it, by this name.
    Ask {
        /// The ticket.
        ticket: Id,
        /// The question.
        question: Id,
    },
    /// It has been asked already.
    Joined {
        /// The ticket.
        ticket: Id,
    },
}

impl Taken {
    /// The ticket.
    #[must_use]
    pub const fn ticket(self) -> Id {
        match self {
            Taken::Ask { ticket, .. } | Taken::Joined { ticket } => ticket,
        }
    }
}

/// The tickets of a worker, and the questions that they are of.
#[derive(Debug)]
pub struct Tickets<T> {
    tickets: Slab<Ticket<T>>,
    questions: Slab<Question>,
    index: Index,
}

impl<T> Tickets<T> {
    /// Bytes that a ticket costs with a question of its own.
    pub const TICKET_LEN: usize =
        Slab::<Ticket<T>>::SLOT_LEN + Slab::<Question>::SLOT_LEN + Index::KEY_LEN;

    /// At most so many tickets at once.
    #[must_use]
    pub fn new(capacity: u32) -> Tickets<T> {
        Tickets {
            tickets: Slab::new(capacity),
            questions: Slab::new(capacity),
            index: Index::new(capacity),
        }
    }

    /// A ticket for `holder`, of the question behind `key`.
    ///
    /// # Errors
    /// The holder, where there is no ticket left.
    pub fn take(&mut self, key: u64, holder: T) -> Result<Taken, T> {
        let known = self.index.get(key);
        let (Some(ticket), Some(question)) = (
            self.tickets.vacant(),
            known.or_else(|| self.questions.vacant()),
        ) else {
            return Err(holder);
        };
        if known.is_none() {
            // There are as many places for questions as for tickets, and each has a ticket.
            self.questions.insert(Question {
                key,
                first: None,
                last: None,
            });
        }
        let last = self.questions.get(question).and_then(|of| of.last);
        self.tickets.insert(Ticket {
            holder,
            question,
            next: None,
            previous: last,
        });
        match last.and_then(|last| self.tickets.get_mut(last)) {
            Some(last) => last.next = Some(ticket),
            None => {
                if let Some(question) = self.questions.get_mut(question) {
                    question.first = Some(ticket);
                }
            }
        }
        if let Some(question) = self.questions.get_mut(question) {
            question.last = Some(ticket);
        }
        Ok(match known {
            Some(_) => Taken::Joined { ticket },
            None => {
                self.index.insert(key, question);
                Taken::Ask { ticket, question }
            }
        })
    }

    /// The eldest ticket of a question that was answered, given back, and who held it; `None` where
    /// none is left: then the question is forgotten, and asked anew by the next.
    pub fn serve(&mut self, question: Id) -> Option<(Id, T)> {
        let first = self.questions.get(question)?.first?;
        Some((first, self.give_back(first)?))
    }

    /// The question behind a key, where somebody waits for its answer.
    #[must_use]
    pub fn question(&self, key: u64) -> Option<Id> {
        self.index.get(key)
    }

    /// Who holds a ticket.
    #[must_use]
    pub fn get(&self, ticket: Id) -> Option<&T> {
        Some(&self.tickets.get(ticket)?.holder)
    }

    /// The ticket that stands in a slot.
    #[must_use]
    pub fn tenant(&self, slot: u32) -> Option<Id> {
        self.tickets.tenant(slot)
    }

    /// Everybody who waits.
    pub fn holders(&self) -> impl Iterator<Item = (Id, &T)> {
        self.tickets
            .tenants()
            .map(|(id, ticket)| (id, &ticket.holder))
    }

    /// True where there is no ticket left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tickets.is_full()
    }

    /// How many tickets there are.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.tickets.capacity()
    }

    /// Gives a ticket back, and who held it. With the last one of a question the question ends.
    pub fn give_back(&mut self, ticket: Id) -> Option<T> {
        let Ticket {
            holder,
            question,
            next,
            previous,
        } = self.tickets.remove(ticket)?;
        if let Some(next) = next.and_then(|next| self.tickets.get_mut(next)) {
            next.previous = previous;
        }
        if let Some(previous) = previous.and_then(|previous| self.tickets.get_mut(previous)) {
            previous.next = next;
        }
        if let Some(of) = self.questions.get_mut(question) {
            if of.first == Some(ticket) {
                of.first = next;
            }
            if of.last == Some(ticket) {
                of.last = previous;
            }
            if of.first.is_none() {
                let key = of.key;
                self.index.remove(key, question);
                self.questions.remove(question);
            }
        }
        Some(holder)
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tickets.count()
    }

    /// How many questions are open.
    #[must_use]
    pub fn question_count(&self) -> usize {
        self.questions.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::collections::VecDeque;

    #[test]
    fn a_thousand_who_wait_for_one_answer_ask_once() {
        let mut tickets = Tickets::new(1_000);
        let Ok(Taken::Ask { question, .. }) = tickets.take(7, 0) else {
            panic!("the first one asks");
        };
        for holder in 1..1_000 {
            assert!(matches!(tickets.take(7, holder), Ok(Taken::Joined { .. })));
        }
        assert_eq!(tickets.take(8, 1_000), Err(1_000), "there are no more");
        let served: Vec<_> = std::iter::from_fn(|| tickets.serve(question))
            .map(|(_, holder)| holder)
            .collect();
        assert_eq!(served, (0..1_000).collect::<Vec<_>>());
        assert_eq!((tickets.count(), tickets.question_count()), (0, 0));
        assert!(matches!(tickets.take(7, 0), Ok(Taken::Ask { .. })));
    }

    #[test]
    fn the_answer_to_a_question_that_ended_serves_nobody() {
        let mut tickets = Tickets::new(2);
        let Ok(Taken::Ask { ticket, question }) = tickets.take(7, 'a') else {
            panic!("the first one asks");
        };
        assert_eq!(tickets.give_back(ticket), Some('a'));
        assert_eq!(tickets.give_back(ticket), None);
        // Its slot is another's by now.
        assert!(matches!(tickets.take(9, 'b'), Ok(Taken::Ask { .. })));
        assert_eq!(tickets.serve(question), None);
        assert_eq!(tickets.count(), 1);
    }

    proptest! {
        #[test]
        fn they_are_served_in_the_order_in_which_they_came(
            steps in prop::collection::vec((0_u64..4, 0_u8..4, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut tickets = Tickets::new(12);
            // By key: the question, and who waits with which ticket.
            let mut naive: BTreeMap<u64, (Id, VecDeque<(Id, usize)>)> = BTreeMap::new();
            for (holder, (key, what, which)) in steps.into_iter().enumerate() {
                let waiting = naive.values().map(|(_, queue)| queue.len()).sum::<usize>();
                match what {
                    0 | 1 => match tickets.take(key << 60, holder) {
                        Ok(Taken::Ask { ticket, question }) => {
                            let queue = VecDeque::from([(ticket, holder)]);
                            prop_assert!(naive.insert(key, (question, queue)).is_none());
                        }
                        Ok(Taken::Joined { ticket }) => {
                            naive.get_mut(&key).unwrap().1.push_back((ticket, holder));
                        }
                        Err(_) => prop_assert_eq!(waiting, 12),
                    },
                    2 => if let Some((question, queue)) = naive.get_mut(&key) {
                        let expected = queue.pop_front();
                        prop_assert_eq!(tickets.serve(*question), expected);
                    },
                    _ => if let Some((_, queue)) = naive.get_mut(&key) {
                        let (ticket, holder) = queue.remove(which.index(queue.len())).unwrap();
                        prop_assert_eq!(tickets.give_back(ticket), Some(holder));
                    },
                }
                naive.retain(|_, (_, queue)| !queue.is_empty());
                prop_assert_eq!(tickets.question_count(), naive.len());
            }
        }
    }
}
