//! Whether the store is still the one that it was: one that was emptied, or whose place another has taken, has lost
//! what the boxes have written, and says nothing of it.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tokio::sync::mpsc;

use super::Names;
use super::link::Servers;
use crate::location::store::Heard;

/// How often it is looked at: a user who is known nowhere else is not found for so long.
const LOOK: Duration = Duration::from_secs(2);

/// Tells a gap whenever it is another one, until nobody wants to know.
pub(super) async fn watch(servers: Arc<Servers>, names: Names, sender: mpsc::Sender<Heard>) {
    let mut known: Option<Vec<String>> = None;
    loop {
        let looked = look(&servers, &names).await;
        // Of one that gives no answer nothing is known.
        if let Ok(seen) = servers.checked(looked).await {
            let was = known.replace(seen.clone());
            if was.is_some_and(|was| was != seen) {
                tracing::warn!(
                    "{}: it has lost what was written there: it is looked through, and written again",
                    servers.name
                );
                if sender.send(Heard::Gap).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What it is known by: a mark that the first box to see it has left there, and the masters of a cluster, of which
/// one alone has the mark.
async fn look(servers: &Servers, names: &Names) -> RedisResult<Vec<String>> {
    let mut link = servers.link().await?;
    let ours = format!("{:016x}", getrandom::u64().unwrap_or_default());
    let mut mark = redis::cmd("SET");
    mark.arg(format!("{}:mark", names.prefix))
        .arg(&ours)
        .arg("NX")
        .arg("GET");
    let theirs: Option<String> = mark.query_async(&mut link).await?;
    let mut seen = link.run_ids().await?;
    seen.push(theirs.unwrap_or(ours));
    Ok(seen)
}
