//! `trunkctl subscriber list`.

use super::Paper;
use super::Text;
use super::Word;
use super::plural;
use crate::api::types::Subscribers;

impl Paper {
    /// `trunkctl subscriber list`
    #[must_use]
    pub fn subscribers(self, all: &Subscribers) -> String {
        if all.subscribers.is_empty() {
            return "There is no subscriber.\n".to_owned();
        }
        let rows = all.subscribers.iter().map(|subscriber| {
            let who = format!("{}@{}", subscriber.user, subscriber.domain);
            vec![who, subscriber.algorithms.join(", ")]
        });
        let table = self.table(&[Word("subscriber"), Text("HA1 for")], rows);
        table + &format!("\n{}\n", plural(all.subscribers.len(), "subscriber"))
    }
}
