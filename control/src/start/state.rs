//! The state file: what must outlive a restart, readable by the daemon alone.
//!
//! It holds the keys of the Record-Route cookie (the one in use and the one before
//! it, so that calls survive a change), the key of the Call-ID hash, and the number
//! of the last start. It is replaced whole: written beside, synced, renamed, and the
//! directory synced, so that a crash leaves the old one or the new one.

use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use trunkline_dataplane::settings::Secrets;

const FILE: &str = "state.json";

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Something failed that should not.
    #[error("cannot {what} {}: {error}. Check the key `state` of the configuration and who owns the directory", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Others can read the keys.
    #[error(
        "the state file {} has mode {mode:04o}: others may have read its keys. Remove it (calls that are up lose their \
         Record-Route cookie), or, if you are sure of it, chmod 600 it",
        path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to someone else.
    #[error("the state file {} belongs to user {owner}, not to user {us} whom the daemon runs as: chown it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// It is not what we wrote.
    #[error(
        "the state file {} is damaged ({why}). Restore it, or remove it: new keys are made, and calls that are up lose \
         their Record-Route cookie",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No randomness.
    #[error("the kernel gives no random bytes: {0}")]
    Random(String),
}

/// What the file says, as JSON with the keys in hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    boot: u16,
    cookie: [String; 2],
    hash: String,
}

/// Reads the state in `directory`, or makes it, and counts this start.
/// Gives the number of this start and the keys, that of the branch made anew.
///
/// # Errors
/// What is wrong with the file or the directory, and what to do about it.
pub fn load(directory: &Path) -> Result<(u16, Secrets), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("create the directory", directory))?;
    let path = directory.join(FILE);
    let (last, mut secrets) = match fs::symlink_metadata(&path) {
        Ok(metadata) => read(&path, &metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keys = Secrets {
                branch: [0; 16],
                cookie: [random()?, random()?],
                hash: random()?,
            };
            // The count begins anywhere: two boxes that share keys are told apart by it.
            let [high, low, ..] = random()?;
            (u16::from_be_bytes([high, low]), keys)
        }
        Err(error) => return Err(failed("look at", &path)(error)),
    };
    secrets.branch = random()?;
    let boot = last.wrapping_add(1);
    write(directory, &path, boot, &secrets)?;
    Ok((boot, secrets))
}

fn read(path: &Path, metadata: &fs::Metadata) -> Result<(u16, Secrets), StateError> {
    let damaged = |why: String| StateError::Damaged {
        path: path.to_owned(),
        why,
    };
    if !metadata.is_file() {
        return Err(damaged("it is not a file".to_owned()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StateError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    let us = nix::unistd::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(StateError::Owner {
            path: path.to_owned(),
            owner: metadata.uid(),
            us,
        });
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if file.version != 1 {
        return Err(damaged(format!(
            "its version is {}, and this daemon knows 1",
            file.version
        )));
    }
    let key = |name: &str, text: &str| {
        key(text).ok_or_else(|| damaged(format!("its {name} key is not 32 hexadecimal digits")))
    };
    let cookie = [
        key("cookie", &file.cookie[0])?,
        key("cookie", &file.cookie[1])?,
    ];
    Ok((
        file.boot,
        Secrets {
            branch: [0; 16],
            cookie,
            hash: key("hash", &file.hash)?,
        },
    ))
}

fn write(directory: &Path, path: &Path, boot: u16, secrets: &Secrets) -> Result<(), StateError> {
    let file = File {
        version: 1,
        boot,
        cookie: secrets.cookie.map(|key| hex(&key)),
        hash: hex(&secrets.hash),
    };
    let beside = directory.join(".state.json.new");
    // Left behind by a crash, perhaps; its mode is not to be trusted.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &beside)(error));
        }
        _ => {}
    }
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(|error| StateError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    bytes.push(b'\n');
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut out = options.open(&beside).map_err(failed("create", &beside))?;
    out.write_all(&bytes).map_err(failed("write", &beside))?;
    out.sync_all().map_err(failed("sync", &beside))?;
    fs::rename(&beside, path).map_err(failed("replace", path))?;
    let directory_file = fs::File::open(directory).map_err(failed("open", directory))?;
    directory_file.sync_all().map_err(failed("sync", directory))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |error| StateError::Io { what, path, error }
}

fn random() -> Result<[u8; 16], StateError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| StateError::Random(error.to_string()))?;
    Ok(key)
}

fn hex(key: &[u8; 16]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn keys_outlive_a_restart_and_the_branch_key_does_not() {
        let room = tempfile::tempdir().unwrap();
        let directory = room.path().join("a/b");
        let (first_boot, first) = load(&directory).unwrap();
        let (second_boot, second) = load(&directory).unwrap();
        assert_eq!(second_boot, first_boot.wrapping_add(1));
        assert_eq!(first.cookie, second.cookie);
        assert_eq!(first.hash, second.hash);
        assert_ne!(first.branch, second.branch);
        assert_ne!(first.cookie[0], first.cookie[1]);
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join(FILE)), 0o600);
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_crash_between_write_and_rename_does_no_harm() {
        let room = tempfile::tempdir().unwrap();
        let (boot, _) = load(room.path()).unwrap();
        fs::write(room.path().join(".state.json.new"), "half").unwrap();
        assert_eq!(load(room.path()).unwrap().0, boot.wrapping_add(1));
    }

    #[test]
    fn wide_permissions_are_refused_and_left_alone() {
        let room = tempfile::tempdir().unwrap();
        load(room.path()).unwrap();
        let path = room.path().join(FILE);
        for wide in [0o640, 0o604, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wide)).unwrap();
            let error = load(room.path()).unwrap_err();
            assert!(matches!(error, StateError::Permissions { mode, .. } if mode == wide));
            assert!(error.to_string().contains("Remove it"));
            assert_eq!(mode(&path), wide);
        }
    }

    #[test]
    fn damage_is_refused_and_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let (boot, _) = load(room.path()).unwrap();
        let boot = format!("\"boot\": {boot}");
        let path = room.path().join(FILE);
        let good = fs::read_to_string(&path).unwrap();
        let broken = [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace("\"boot\"", "\"boots\""),
            good.replace("\"hash\": \"", "\"hash\": \"+"),
            good.replace(&boot, "\"boot\": 65536"),
        ];
        for text in broken {
            fs::write(&path, &text).unwrap();
            let error = load(room.path()).unwrap_err();
            assert!(
                matches!(error, StateError::Damaged { .. }),
                "{text:?}: {error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn the_boot_number_wraps() {
        let room = tempfile::tempdir().unwrap();
        let (boot, _) = load(room.path()).unwrap();
        let path = room.path().join(FILE);
        let full = fs::read_to_string(&path)
            .unwrap()
            .replace(&format!("\"boot\": {boot}"), "\"boot\": 65535");
        fs::write(&path, full).unwrap();
        assert_eq!(load(room.path()).unwrap().0, 0);
    }

    #[test]
    fn a_link_is_not_followed() {
        let room = tempfile::tempdir().unwrap();
        let elsewhere = room.path().join("elsewhere");
        load(&elsewhere).unwrap();
        std::os::unix::fs::symlink(elsewhere.join(FILE), room.path().join(FILE)).unwrap();
        assert!(matches!(load(room.path()), Err(StateError::Damaged { .. })));
    }
}
