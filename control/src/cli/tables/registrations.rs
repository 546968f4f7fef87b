//! `trunkctl registrations`.

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::duration;
use super::incomplete;
use super::plural;
use crate::api::types::Registrations;
use crate::subscribers::name::Address;

impl Paper {
    /// `trunkctl registrations`, of all or `of` one.
    #[must_use]
    pub fn registrations(self, all: &Registrations, of: Option<&Address>) -> String {
        let columns = [
            Word("user"),
            Text("contact"),
            Word("reached at"),
            Word("by"),
            Number("q"),
            Number("ends in"),
            Number("worker"),
        ];
        let rows = all.registrations.iter().map(|row| {
            vec![
                format!("{}@{}", row.user, row.domain),
                row.contact.clone(),
                match row.path.is_empty() {
                    true => row.received.to_string(),
                    false => row.path.clone(),
                },
                row.listen.clone(),
                row.q.to_string(),
                duration(row.expires_s as f64),
                row.worker.to_string(),
            ]
        });
        let text = match (all.registrations.len(), of) {
            (0, None) => "Nobody has registered.\n".to_owned(),
            (0, Some(who)) => format!("{who} has not registered.\n"),
            (count, _) => format!(
                "{}\n{}\n",
                self.table(&columns, rows),
                plural(count, "contact")
            ),
        };
        text + incomplete(all.complete)
    }
}
