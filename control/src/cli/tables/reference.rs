//! `trunkctl counters`.

use super::Paper;
use super::Text;
use super::Word;
use crate::metrics::reference::Entry;

impl Paper {
    /// `trunkctl counters`
    #[must_use]
    pub fn reference(self, entries: &[Entry]) -> String {
        let mut text = String::new();
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let end = rest.iter().position(|entry| entry.stage != first.stage);
            let (of_stage, after) = rest.split_at(end.unwrap_or(rest.len()));
            let rows = of_stage.iter().map(|entry| {
                vec![
                    entry.name.to_owned(),
                    entry.kind.to_owned(),
                    entry.help.clone(),
                ]
            });
            let columns = [Word(first.stage), Word("kind"), Text("meaning")];
            text += &self.table(&columns, rows);
            if !after.is_empty() {
                text.push('\n');
            }
            rest = after;
        }
        text
    }
}
