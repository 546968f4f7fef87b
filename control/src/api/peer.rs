//! Who may use the operator's socket: root, the daemon's own user, and the members
//! of the configured group.
//!
//! The socket's mode says the same to the kernel; asking the peer's credentials as
//! well means that a wider mode, set by accident, opens nothing. The user database may
//! be on the network and slow, so it is asked on a thread of its own, for a moment only,
//! and not at all for root and the daemon's own user.

use std::ffi::CString;
use std::time::Duration;

use nix::unistd::Gid;
use nix::unistd::Uid;
use nix::unistd::User;
use tokio::sync::Semaphore;

/// How long the user database may take; then it has said no.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

/// Look-ups at once. One that hangs keeps its place and its thread: there must not be
/// more of them with every stranger who comes.
static LOOKUPS: Semaphore = Semaphore::const_new(8);

/// Who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// Who may ask.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    us: u32,
    group: Option<u32>,
}

impl Allowed {
    /// Root, the user of this process, and the members of `group`.
    #[must_use]
    pub fn new(group: Option<u32>) -> Allowed {
        Allowed {
            us: nix::unistd::geteuid().as_raw(),
            group,
        }
    }

    /// True where `peer` may use the socket.
    pub async fn admits(&self, peer: Peer) -> bool {
        if peer.uid == 0 || peer.uid == self.us {
            return true;
        }
        match self.group {
            None => false,
            Some(group) if peer.gid == group => true,
            Some(group) => in_time(LOOKUP_PATIENCE, move || is_member(peer, group)).await,
        }
    }
}

/// What `lookup` says on a thread where it may block; false where it takes too long.
async fn in_time(patience: Duration, lookup: impl FnOnce() -> bool + Send + 'static) -> bool {
    let asked = async {
        let place = LOOKUPS.acquire().await.ok()?;
        let lookup = move || {
            let found = lookup();
            drop(place);
            found
        };
        tokio::task::spawn_blocking(lookup).await.ok()
    };
    let answer = tokio::time::timeout(patience, asked).await;
    answer.ok().flatten().unwrap_or(false)
}

/// True where the user database makes the peer a member of `group`.
fn is_member(peer: Peer, group: u32) -> bool {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.uid)) else {
        return false;
    };
    let Ok(name) = CString::new(user.name) else {
        return false;
    };
    nix::unistd::getgrouplist(&name, user.gid)
        .is_ok_and(|groups| groups.contains(&Gid::from_raw(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: u32 = 65534;

    #[tokio::test]
    async fn root_and_ourselves_may_and_others_may_not() {
        let allowed = Allowed {
            us: 1234,
            group: None,
        };
        assert!(allowed.admits(Peer { uid: 0, gid: 0 }).await);
        assert!(allowed.admits(Peer { uid: 1234, gid: 9 }).await);
        let nobody = Peer {
            uid: NOBODY,
            gid: NOBODY,
        };
        assert!(!allowed.admits(nobody).await);
        assert!(
            !allowed.admits(Peer { uid: 4321, gid: 0 }).await,
            "root's group is not root"
        );
    }

    #[tokio::test]
    async fn members_of_the_group_may() {
        let allowed = Allowed {
            us: 0,
            group: Some(NOBODY),
        };
        let primary = Peer {
            uid: 4321,
            gid: NOBODY,
        };
        assert!(allowed.admits(primary).await, "by its primary group");
        let listed = Peer {
            uid: NOBODY,
            gid: 1,
        };
        assert!(
            allowed.admits(listed).await,
            "by the database: nogroup is nobody's"
        );
        assert!(!allowed.admits(Peer { uid: 4321, gid: 1 }).await);
    }

    #[tokio::test]
    async fn a_database_that_hangs_has_said_no() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let hangs = move || held.recv().is_err();
        assert!(!in_time(Duration::from_millis(10), hangs).await);
        drop(hold);
        assert!(in_time(Duration::from_secs(60), || true).await);
    }
}
