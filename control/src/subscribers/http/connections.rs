//! The connections to an HTTP server: so many and no more, each kept for the next question.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use http_body_util::BodyExt as _;
use http_body_util::Empty;
use http_body_util::Limited;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper::header;
use hyper::http::uri::Authority;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::subscribers::guarded::reason;

/// The longest answer, in bytes: twenty times what it takes.
const ANSWER_LEN_MAX: usize = 4096;

/// The longest head of an answer, in bytes; the least that hyper takes.
const HEAD_LEN_MAX: usize = 8192;

/// What a server answered: its status, and what it said, if that was of a length to be read.
pub(super) type Answer = (StatusCode, Result<Bytes, String>);

/// The connections.
#[derive(Debug)]
pub(super) struct Connections {
    authority: Authority,
    /// Where the server is, as far as is known.
    addresses: Mutex<Vec<SocketAddr>>,
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// One of them; dropped, it is closed.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Reads and writes.
    _driver: JoinSet<()>,
}

impl Connections {
    /// At most so many to `authority`, a host with or without a port.
    pub fn new(authority: &str, most: usize) -> Result<Connections, String> {
        let wrong = format!("\"{authority}\" is no host with or without a port");
        let authority: Authority = authority.parse().map_err(|_| wrong.clone())?;
        if authority.as_str().contains('@') {
            return Err("a user and a password in the URL are not supported".to_owned());
        }
        let host = authority.host();
        let port = authority.as_str().strip_prefix(host).unwrap_or_default();
        let is_port = |text: &str| text.parse::<u16>().is_ok();
        if host.is_empty() || !port.strip_prefix(':').map_or(port.is_empty(), is_port) {
            return Err(wrong);
        }
        let connections = Connections {
            authority,
            addresses: Mutex::default(),
            places: Semaphore::new(most.max(1)),
            idle: Mutex::default(),
        };
        if let Ok(address) = connections.host().parse() {
            private(address)?;
        }
        Ok(connections)
    }

    /// Asks for `path`, by a connection that there is, or by a new one.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        let _place = self.places.acquire().await.map_err(reason)?;
        let idle = lock(&self.idle).pop();
        if let Some(idle) = idle
            && let Ok(answer) = self.exchange(idle, path).await
        {
            return Ok(answer);
        }
        // The server may close an idle connection at any time; RFC 9112 §9.3.1 lets a GET be repeated.
        let connection = self.connect().await?;
        self.exchange(connection, path).await
    }

    /// Asks for `path` by a new connection, in addition to those in use, and closes those that are idle.
    pub async fn get_anew(&self, path: &str) -> Result<Answer, String> {
        lock(&self.idle).clear();
        let connection = self.connect().await?;
        self.exchange(connection, path).await
    }

    async fn exchange(&self, mut connection: Connection, path: &str) -> Result<Answer, String> {
        let request = Request::get(path)
            .header(header::HOST, self.authority.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(reason)?;
        connection.sender.ready().await.map_err(reason)?;
        let sent = connection.sender.send_request(request).await;
        let (head, body) = sent.map_err(reason)?.into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
        let body = body.map(|body| body.to_bytes());
        if body.is_ok() {
            lock(&self.idle).push(connection);
        }
        Ok((head.status, body.map_err(|error| error.to_string())))
    }

    async fn connect(&self) -> Result<Connection, String> {
        let mut why = "its name has no address".to_owned();
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return shake_hands(stream).await,
                Err(error) => why = reason(error),
            }
        }
        // It may have moved.
        lock(&self.addresses).clear();
        Err(format!("cannot connect: {why}"))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let known = lock(&self.addresses).clone();
        if !known.is_empty() {
            return Ok(known);
        }
        let port = self.authority.port_u16().unwrap_or(80);
        // Looked up by a thread that may block.
        let found = tokio::net::lookup_host((self.host(), port)).await;
        let found: Vec<_> = found
            .map_err(|error| format!("cannot find its address: {error}"))?
            .collect();
        for address in &found {
            private(address.ip())?;
        }
        lock(&self.addresses).clone_from(&found);
        Ok(found)
    }

    /// The host, without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }
}

async fn shake_hands(stream: TcpStream) -> Result<Connection, String> {
    stream.set_nodelay(true).map_err(reason)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LEN_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(reason)?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Who asked is told of an error.
        let _ = connection.await;
    });
    Ok(Connection {
        sender,
        _driver: driver,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses an address where strangers may read along.
fn private(address: IpAddr) -> Result<(), String> {
    let is_private = match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address == Ipv6Addr::LOCALHOST
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    };
    if is_private {
        return Ok(());
    }
    Err(format!(
        "{address} is a public address, where HTTP without TLS can be read by strangers: let a proxy beside \
         trunklined speak TLS"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_public_addresses_refused() {
        for good in [
            "127.0.0.1:8080",
            "[::1]",
            "[fd00::1]:80",
            "hss",
            "10.1.2.3",
            "db.example:81",
        ] {
            assert!(Connections::new(good, 1).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "host:",
            "host:65536",
            "user:secret@10.0.0.1",
            "192.0.2.1",
            "[2001:db8::1]",
            "0.0.0.0",
        ] {
            let error = Connections::new(bad, 1).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
