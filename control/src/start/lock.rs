//! One daemon an interface.
//!
//! The lock is an abstract Unix socket named after the device. It lives in the
//! network namespace, as the device does, and the kernel frees it when its holder
//! dies, however it dies.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use std::time::Instant;

use super::sockets;

/// A device that is ours while this lives.
#[derive(Debug)]
pub struct DeviceLock {
    _socket: UnixDatagram,
}

/// Why a device is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "another trunklined drives {device} already ({holder}). Stop it first, or give this one another device"
    )]
    Taken {
        /// The device.
        device: String,
        /// Who has it.
        holder: String,
    },
    /// The socket could not be made.
    #[error("cannot take the lock of {device}: {error}")]
    Io {
        /// The device.
        device: String,
        /// Why.
        error: io::Error,
    },
}

/// How long a lock may go on being held by nobody who can be seen: the kernel takes a
/// moment to close the files of a daemon that was killed.
const DYING: Duration = Duration::from_secs(3);

/// How long one who can be seen may hold it: a kill is not carried out at once.
const LIVING: Duration = Duration::from_millis(200);

const PAUSE: Duration = Duration::from_millis(20);

/// Takes `device` for this process. Waits for a predecessor that is dying, so that a
/// restart works at once.
///
/// # Errors
/// Who has it.
pub fn take(device: &str) -> Result<DeviceLock, LockError> {
    let name = format!("trunklined/{device}");
    let began = Instant::now();
    loop {
        let bound = SocketAddr::from_abstract_name(&name)
            .and_then(|address| UnixDatagram::bind_addr(&address));
        let device = device.to_owned();
        match bound {
            Ok(socket) => return Ok(DeviceLock { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = sockets::holder_of_name(&name);
                let patience = if holder.is_some() { LIVING } else { DYING };
                if began.elapsed() >= patience {
                    let holder = holder
                        .unwrap_or_else(|| "a process that cannot be seen from here".to_owned());
                    return Err(LockError::Taken { device, holder });
                }
            }
            Err(error) => return Err(LockError::Io { device, error }),
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_taken_once_and_freed_with_its_lock() {
        let device = format!("t{}", std::process::id());
        let lock = take(&device).unwrap();
        let error = take(&device).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(lock);
        take(&device).unwrap();
    }
}
