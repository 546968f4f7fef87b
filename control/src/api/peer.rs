//! Who may use the operator's socket: root, the daemon's own user, and the members
//! of the configured group.
//!
//! The socket's mode says the same to the kernel; asking the peer's credentials as
//! well means that a wider mode, set by accident, opens nothing.

use std::ffi::CString;

use nix::unistd::Gid;
use nix::unistd::Uid;
use nix::unistd::User;

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
    #[must_use]
    pub fn admits(&self, peer: Peer) -> bool {
        if peer.uid == 0 || peer.uid == self.us {
            return true;
        }
        self.group
            .is_some_and(|group| peer.gid == group || is_member(peer, group))
    }
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

    #[test]
    fn root_and_ourselves_may_and_others_may_not() {
        let allowed = Allowed {
            us: 1234,
            group: None,
        };
        assert!(allowed.admits(Peer { uid: 0, gid: 0 }));
        assert!(allowed.admits(Peer { uid: 1234, gid: 9 }));
        assert!(!allowed.admits(Peer {
            uid: NOBODY,
            gid: NOBODY
        }));
        assert!(
            !allowed.admits(Peer { uid: 4321, gid: 0 }),
            "root's group is not root"
        );
    }

    #[test]
    fn members_of_the_group_may() {
        let allowed = Allowed {
            us: 0,
            group: Some(NOBODY),
        };
        assert!(
            allowed.admits(Peer {
                uid: 4321,
                gid: NOBODY
            }),
            "by its primary group"
        );
        assert!(
            allowed.admits(Peer {
                uid: NOBODY,
                gid: 1
            }),
            "by the database: nogroup is nobody's"
        );
        assert!(!allowed.admits(Peer { uid: 4321, gid: 1 }));
    }
}
