//! Which files control may touch once it serves (Linux's Landlock).
//!
//! Landlock binds the thread that asks for it and those it starts from then on: control and
//! its helpers. A worker opens no file at all; its seccomp filter sees to that.

use std::path::Path;
use std::path::PathBuf;

use landlock::ABI;
use landlock::Access as _;
use landlock::AccessFs;
use landlock::BitFlags;
use landlock::LandlockStatus;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use landlock::RulesetCreatedAttr as _;
use landlock::RulesetError;
use landlock::path_beneath_rules;

/// The newest rights we know of. On an older kernel those it lacks stay open, and the
/// status names its version.
const NEWEST: ABI = ABI::V5;

/// What may be read and looked through: what a person's membership of a group may be found
/// in, and what the kernel says of itself.
const READABLE: [&str; 14] = [
    "/proc",
    "/sys",
    // The user database: its files, its modules, its caches, and where they find each other.
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/run/systemd/userdb",
    "/run/nscd",
    "/var/lib/sss",
    "/var/lib/extrausers",
    // Where names of hosts are looked up; what stands in /etc often leads there.
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    // Libraries that randomise themselves.
    "/dev/urandom",
];

/// The directories in which something is to be done.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// Of the state file and of the subscribers: files are made, written, replaced.
    pub writes: &'a [&'a Path],
    /// The operator's socket, removed at the end.
    pub socket: &'a Path,
}

/// Confines the calling thread to `places` and what it must read, and says what is in
/// force: `Landlock ABI 5`, or why there is nothing.
///
/// # Errors
/// The kernel has Landlock and does not do what it says.
pub fn confine(places: &Places<'_>) -> Result<String, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let state = AccessFs::from_all(NEWEST) & !(devices() | AccessFs::Execute);
    let socket_directory = places.socket.parent().map(PathBuf::from);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(places.writes, state))?
        .add_rules(path_beneath_rules(socket_directory, AccessFs::RemoveFile))?
        .restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => {
            format!("Landlock ABI {}", effective_abi as i32)
        }
        LandlockStatus::NotEnabled => {
            "open: Landlock is off in this kernel (boot with lsm=landlock,...)".to_owned()
        }
        LandlockStatus::NotImplemented => "open: this kernel has no Landlock".to_owned(),
    })
}

fn devices() -> BitFlags<AccessFs> {
    AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn files_outside_are_closed_and_those_inside_open() {
        let room = tempfile::tempdir().unwrap();
        let in_room = |name: &str| room.path().join(name);
        for name in ["state", "users", "run"] {
            fs::create_dir(in_room(name)).unwrap();
        }
        fs::write(in_room("other"), "not yours").unwrap();
        fs::write(in_room("run/control.sock"), "").unwrap();
        // A thread of its own: the others of this test process stay free.
        let confined = std::thread::scope(|scope| {
            let confined = scope.spawn(|| {
                let places = Places {
                    writes: &[&in_room("state"), &in_room("users")],
                    socket: &in_room("run/control.sock"),
                };
                let said = confine(&places).unwrap();
                let refused = |result: std::io::Result<()>| {
                    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
                };
                fs::write(in_room("state/new"), "1").unwrap();
                fs::rename(in_room("state/new"), in_room("state/old")).unwrap();
                fs::write(in_room("users/db"), "1").unwrap();
                fs::read("/proc/self/status").unwrap();
                fs::read("/etc/passwd").unwrap();
                fs::remove_file(in_room("run/control.sock")).unwrap();
                assert!(refused(fs::read(in_room("other")).map(drop)));
                assert!(refused(fs::write(in_room("other"), "mine")));
                assert!(refused(fs::write(in_room("run/file"), "")));
                assert!(refused(fs::write("/etc/passwd.trunkline", "")));
                said
            });
            confined.join()
        });
        let said = confined.unwrap();
        assert!(said.starts_with("Landlock ABI "), "{said}");
        assert_eq!(fs::read_to_string(in_room("other")).unwrap(), "not yours");
    }
}
