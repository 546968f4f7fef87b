//! Asking the daemon: one HTTP request over its Unix socket.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::types::Refusal;

/// How long an answer may take; the daemon gives up on a worker after two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket.
    #[error(
        "trunklined is not running: there is no socket {}. Start it, or name its socket with --socket",
        path.display()
    )]
    NoSocket {
        /// Where it should be.
        path: PathBuf,
    },
    /// A socket without a daemon.
    #[error("trunklined is not running: its socket {} is a dead one. Start it", path.display())]
    Dead {
        /// Where it is.
        path: PathBuf,
    },
    /// Not for us.
    #[error(
        "you may not use {}: it is for root and the members of the group that trunklined's configuration names. Use sudo, or \
         have yourself added to that group",
        path.display()
    )]
    NotPermitted {
        /// Where it is.
        path: PathBuf,
    },
    /// Closed without an answer, and not because of who we are.
    #[error("trunklined closed the connection: see its log")]
    Closed,
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
    /// The daemon cannot answer at this moment.
    #[error("{0}")]
    Unavailable(String),
    /// It took too long.
    #[error("trunklined does not answer. Its log may say why")]
    Silent,
    /// Something else.
    #[error("cannot speak to trunklined on {}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It said something that we do not understand.
    #[error(
        "trunklined's answer makes no sense here: {0}. Are trunkctl and trunklined of one version?"
    )]
    Strange(String),
}

/// Asks for `path` on the daemon's `socket` and reads its answer.
///
/// # Errors
/// Why there is none, and what to do about it.
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    let request = hyper::Request::get(path).body(Full::default());
    exchange(socket, request).await
}

/// Tells the daemon `wish` at `path` and reads its answer.
///
/// # Errors
/// Why there is none, and what to do about it.
pub async fn put<W: Serialize, T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    wish: &W,
) -> Result<T, ClientError> {
    let body = serde_json::to_vec(wish).map_err(|error| ClientError::Strange(error.to_string()))?;
    let request = hyper::Request::put(path)
        .header("content-type", "application/json")
        .body(Full::from(body));
    exchange(socket, request).await
}

/// Has the daemon take away what is at `path` and reads its answer.
///
/// # Errors
/// Why there is none, and what to do about it.
pub async fn delete<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    let request = hyper::Request::delete(path).body(Full::default());
    exchange(socket, request).await
}

async fn exchange<T: DeserializeOwned>(
    socket: &Path,
    request: Result<hyper::Request<Full<Bytes>>, hyper::http::Error>,
) -> Result<T, ClientError> {
    let request = request.map_err(|error| ClientError::Strange(error.to_string()))?;
    let answered = async {
        let response = ask(socket, request).await?;
        let status = response.status();
        Ok((status, read(socket, response.into_body()).await?))
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await;
    let (status, body) = answered.map_err(|_| ClientError::Silent)??;
    if !status.is_success() {
        return Err(refused(status, &body));
    }
    serde_json::from_slice(&body).map_err(|error| ClientError::Strange(error.to_string()))
}

/// Asks for `path` on the daemon's `socket` and gives its answer as it comes.
///
/// # Errors
/// Why there is none, and what to do about it.
pub async fn open(socket: &Path, path: &str) -> Result<Incoming, ClientError> {
    let request = hyper::Request::get(path).body(Full::default());
    let request = request.map_err(|error| ClientError::Strange(error.to_string()))?;
    let asked = tokio::time::timeout(PATIENCE, ask(socket, request)).await;
    let response = asked.map_err(|_| ClientError::Silent)??;
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    let body = tokio::time::timeout(PATIENCE, read(socket, response.into_body())).await;
    Err(refused(status, &body.map_err(|_| ClientError::Silent)??))
}

async fn read(socket: &Path, body: Incoming) -> Result<Bytes, ClientError> {
    let whole = body.collect().await.map_err(|error| ClientError::Io {
        path: socket.to_owned(),
        error: io::Error::other(error),
    })?;
    Ok(whole.to_bytes())
}

/// What a status other than 200 says.
fn refused(status: hyper::StatusCode, body: &[u8]) -> ClientError {
    let refusal = serde_json::from_slice::<Refusal>(body);
    match refusal {
        // Paths are this program's, not its user's: another version's daemon has others.
        Ok(refusal) if refusal.no_such_path => ClientError::Strange(refusal.error),
        Ok(refusal) if status.is_server_error() => ClientError::Unavailable(refusal.error),
        Ok(refusal) => ClientError::Refused(refusal.error),
        Err(_) if status.is_server_error() => {
            ClientError::Unavailable(format!("trunklined says {status}"))
        }
        Err(_) => ClientError::Refused(format!("trunklined says {status}")),
    }
}

async fn ask(
    socket: &Path,
    mut request: hyper::Request<Full<Bytes>>,
) -> Result<hyper::Response<Incoming>, ClientError> {
    let host = hyper::header::HeaderValue::from_static("localhost");
    request.headers_mut().insert(hyper::header::HOST, host);
    let failed = |error| ClientError::Io {
        path: socket.to_owned(),
        error,
    };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ClientError::NoSocket {
                path: socket.to_owned(),
            },
            io::ErrorKind::ConnectionRefused => ClientError::Dead {
                path: socket.to_owned(),
            },
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted {
                path: socket.to_owned(),
            },
            _ => failed(error),
        })?;
    // A daemon that refuses us closes without a word; it never refuses root.
    let closed = |_| {
        if nix::unistd::geteuid().is_root() {
            return ClientError::Closed;
        }
        ClientError::NotPermitted {
            path: socket.to_owned(),
        }
    };
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(closed)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(closed)
}
