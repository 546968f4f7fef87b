//! `trunkctl bans`.

use super::Number;
use super::Paper;
use super::Word;
use super::incomplete;
use super::number;
use super::seconds;
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
                    seconds(ban.since_s),
                    seconds(ban.expires_in_s),
                    number(ban.failures.into()),
                    number(ban.dropped),
                ]
            });
            self.table(&columns, rows)
        };
        text + incomplete(bans.complete)
    }
}
