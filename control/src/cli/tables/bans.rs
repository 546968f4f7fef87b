//! `trunkctl bans`.

use super::Number;
use super::Paper;
use super::Word;
use super::duration;
use super::incomplete;
use super::number;
use crate::api::types::Bans;

impl Paper {
    /// `trunkctl bans`
    #[must_use]
    pub fn bans(self, bans: &Bans) -> String {
        let text = if bans.bans.is_empty() {
            "Nobody is banned.\n".to_owned()
        } else {
            let columns = [
                Word("source"),
                Number("since"),
                Number("expires in"),
                Number("failures"),
                Number("dropped since"),
            ];
            let rows = bans.bans.iter().map(|ban| {
                vec![
                    ban.source.clone(),
                    duration(ban.since_s.into()),
                    duration(ban.expires_in_s.into()),
                    number(ban.failures.into()),
                    number(ban.dropped),
                ]
            });
            self.table(&columns, rows)
        };
        text + incomplete(bans.complete)
    }
}
