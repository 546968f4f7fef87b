//! The Unix socket itself: made, guarded, served and removed.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::Backlog;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::UnixAddr;
use nix::sys::stat::Mode;
use nix::sys::stat::fchmod;
use nix::unistd::Gid;
use nix::unistd::Group;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::peer::Allowed;
use super::peer::Peer;
use crate::engine::Request;

/// Most connections at once. An operator needs a few; a program that leaks them must
/// not take the daemon's file descriptors.
const CONNECTIONS_MAX: usize = 64;

/// Most connections over that which are told so at once; the rest is closed unheard.
const REFUSALS_MAX: usize = 16;

/// How long a connection may wait with its request.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// The same for one that is told that there is no room: it is not to stay.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error("another trunklined answers on {}. Stop it first, or give this one another `socket`", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is there already and is no socket: remove it, or configure another `socket`", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The group is unknown.
    #[error(
        "there is no group \"{group}\": add it (groupadd --system {group}), or leave `group` out"
    )]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// Something failed that should not.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
}

/// The socket, bound. Its file goes when this does.
#[derive(Debug)]
pub struct OperatorSocket {
    listener: StdListener,
    path: PathBuf,
    allowed: Allowed,
}

impl OperatorSocket {
    /// Makes the socket at `path`, mode 0660, for root, this user and `group`.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<OperatorSocket, SocketError> {
        let failed = |what| {
            move |error| SocketError::Io {
                what,
                path: path.to_owned(),
                error,
            }
        };
        let group = group.map(find_group).transpose()?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
        }
        clear(path)?;
        let listener = listen(path).map_err(failed("make the socket"))?;
        let socket = OperatorSocket {
            listener,
            path: path.to_owned(),
            allowed: Allowed::new(group.map(Gid::as_raw)),
        };
        socket
            .listener
            .set_nonblocking(true)
            .map_err(failed("set up"))?;
        if let Some(group) = group {
            let changed = nix::unistd::chown(path, None, Some(group)).map_err(io::Error::from);
            changed.map_err(failed("give the group"))?;
        }
        Ok(socket)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers on it until dropped.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub async fn serve(&self, desk: mpsc::Sender<Request>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let router = super::router(desk.clone());
        let room = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        let door = std::sync::Arc::new(tokio::sync::Semaphore::new(REFUSALS_MAX));
        loop {
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, say: it passes, or the operator sees this.
                    tracing::warn!("operator's socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let desk = desk.clone();
            match std::sync::Arc::clone(&room).try_acquire_owned() {
                Ok(place) => {
                    let (allowed, router) = (self.allowed, router.clone());
                    tokio::spawn(async move {
                        if is_admitted(&stream, allowed, &desk).await {
                            answer(stream, router, REQUEST_PATIENCE).await;
                        }
                        drop(place);
                    });
                }
                Err(_) => {
                    tracing::warn!("operator's socket: more than {CONNECTIONS_MAX} connections");
                    if let Ok(place) = std::sync::Arc::clone(&door).try_acquire_owned() {
                        let refusal = super::full(CONNECTIONS_MAX);
                        tokio::spawn(async move {
                            answer(stream, refusal, REFUSAL_PATIENCE).await;
                            drop(place);
                        });
                    }
                }
            }
        }
    }
}

/// True where whoever is at the other end may use the socket; counted and logged.
async fn is_admitted(stream: &UnixStream, allowed: Allowed, desk: &mpsc::Sender<Request>) -> bool {
    let peer = stream.peer_cred().map(|peer| Peer {
        uid: peer.uid(),
        gid: peer.gid(),
    });
    let admitted = match &peer {
        Ok(peer) => allowed.admits(*peer).await,
        Err(_) => false,
    };
    // Where the desk is behind, the count is what can be spared.
    let _ = desk.try_send(Request::Visitor { admitted });
    if !admitted {
        let who = peer.map_or("a peer without credentials".to_owned(), |peer| {
            format!("user {}", peer.uid)
        });
        tracing::warn!("operator's socket: refused {who}");
    }
    admitted
}

/// Answers the requests of one connection, each of which must come within `patience`.
async fn answer(stream: UnixStream, router: axum::Router, patience: Duration) {
    let service = hyper_util::service::TowerToHyperService::new(router);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("operator's socket: {error}");
    }
}

impl Drop for OperatorSocket {
    fn drop(&mut self) {
        // It may be gone: an operator can remove a file.
        let _ = fs::remove_file(&self.path);
    }
}

/// A listening socket whose file is never wider than 0660: Linux gives the file the mode that the
/// socket has when it is bound, less the umask, which is everybody's in this process.
fn listen(path: &Path) -> io::Result<StdListener> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&socket, Mode::from_bits_truncate(0o660))?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    socket::listen(&socket, Backlog::MAXCONN)?;
    Ok(StdListener::from(socket))
}

fn find_group(name: &str) -> Result<Gid, SocketError> {
    let found = Group::from_name(name).ok().flatten();
    found
        .map(|group| group.gid)
        .ok_or_else(|| SocketError::NoGroup {
            group: name.to_owned(),
        })
}

/// Removes the socket of a daemon that is dead.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |what| {
        move |error| SocketError::Io {
            what,
            path: path.to_owned(),
            error,
        }
    };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed("look at"))?,
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket {
            path: path.to_owned(),
        });
    }
    if StdStream::connect(path).is_ok() {
        return Err(SocketError::Taken {
            path: path.to_owned(),
        });
    }
    fs::remove_file(path).map_err(failed("remove the stale socket"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_socket_is_0660_from_the_first_and_goes_with_its_owner() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("run/control.sock");
        let socket = OperatorSocket::bind(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_daemon_is_left_alone_and_a_dead_ones_socket_replaced() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("control.sock");
        let live = StdListener::bind(&path).unwrap();
        assert!(matches!(
            OperatorSocket::bind(&path, None),
            Err(SocketError::Taken { .. })
        ));
        assert!(path.exists());
        drop(live);
        OperatorSocket::bind(&path, None).unwrap();
    }

    #[test]
    fn a_file_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("control.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(
            OperatorSocket::bind(&path, None),
            Err(SocketError::NotASocket { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn an_unknown_group_is_named() {
        let room = tempfile::tempdir().unwrap();
        let error =
            OperatorSocket::bind(&room.path().join("s"), Some("no-such-group")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("groupadd --system no-such-group")
        );
    }
}
