use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::subscribers::Store as _;
use crate::subscribers::Unavailable;

const OPTIONS: Options = Options {
    connections: 2,
    patience: Duration::from_millis(300),
};

const MD5: &str = "939e7578ed9e3c518a452acee763bce9";

/// An endpoint of the test's own; dropped, it is gone.
struct Peer {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    at_once: usize,
    at_once_most: usize,
    requests: Vec<String>,
}

impl Peer {
    async fn start(address: SocketAddr) -> Peer {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let noted = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                noted.lock().unwrap().connections += 1;
                guests.spawn(serve(stream, Arc::clone(&noted)));
            }
        });
        Peer {
            address,
            seen,
            _tasks: tasks,
        }
    }

    async fn new() -> Peer {
        Peer::start("127.0.0.1:0".parse().unwrap()).await
    }

    fn store(&self) -> Store {
        let url = format!("http://{}/v1/{{domain}}/{{user}}?from=sip", self.address);
        open(&[url], &OPTIONS).unwrap()
    }

    /// What was asked for last: the target of the request.
    fn last(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let line = seen.requests.last().unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    }
}

/// Answers the requests of a connection by the name of the user in their paths.
async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    while let Some(head) = head_of(&mut stream).await {
        {
            let mut seen = seen.lock().unwrap();
            seen.at_once += 1;
            seen.at_once_most = seen.at_once_most.max(seen.at_once);
            seen.requests.push(head.clone());
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let user = path.rsplit('/').next().unwrap_or_default();
        let user = user.split('?').next().unwrap_or_default();
        let known = format!("{{\"md5\": \"{MD5}\", \"sha-256\": null, \"more\": 1}}");
        let long = "x".repeat(5000);
        let (status, body) = match user {
            "slow" => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                ("200 OK", known.as_str())
            }
            "hangs" => std::future::pending().await,
            "nobody" => ("404 Not Found", "not here"),
            "ill" => ("500 Internal Server Error", ""),
            "moved" => ("302 Found", ""),
            "long" => ("200 OK", long.as_str()),
            "long-nobody" => ("404 Not Found", long.as_str()),
            "html" => ("200 OK", "<html>"),
            "text" => ("200 OK", "\"939e7578ed9e3c518a452acee763bce9\""),
            "short" => ("200 OK", "{\"md5\": \"939e\"}"),
            _ => ("200 OK", known.as_str()),
        };
        let len = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n{body}");
        seen.lock().unwrap().at_once -= 1;
        if stream.write_all(answer.as_bytes()).await.is_err() || user == "last" {
            return;
        }
    }
}

async fn head_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn find(store: &Store, user: &str) -> Result<Known, Unavailable> {
    store.find("example.com", user.as_bytes()).await
}

fn has_md5(known: &Known) -> bool {
    match known {
        Known::Subscriber(ha1s) => {
            ha1s.get(Algorithm::Md5).is_some() && ha1s.get(Algorithm::Sha256).is_none()
        }
        Known::Nobody => false,
    }
}

#[tokio::test]
async fn a_user_is_found_or_is_nobody_or_the_answer_is_none() {
    let peer = Peer::new().await;
    let store = peer.store();
    assert!(has_md5(&find(&store, "alice").await.unwrap()));
    assert_eq!(peer.last(), "/v1/example.com/alice?from=sip");
    for nobody in ["nobody", "long-nobody"] {
        assert!(matches!(find(&store, nobody).await.unwrap(), Known::Nobody));
    }
    for (user, says) in [
        ("ill", "it answers 500 Internal Server Error"),
        ("moved", "it answers 302 Found"),
        ("long", "length limit exceeded"),
        ("html", "it answers something else than HA1s in JSON"),
        ("text", "it answers something else than HA1s in JSON"),
        ("short", "its MD5 HA1 is not 32 hexadecimal digits"),
    ] {
        let error = find(&store, user).await.unwrap_err();
        assert_eq!(error.store, format!("HTTP at {}", peer.address));
        assert!(error.reason.starts_with(says), "{user}: {error}");
        assert!(!error.reason.contains("939e"), "{error}");
    }
    // None of which took it away from others.
    assert!(has_md5(&find(&store, "alice").await.unwrap()));
}

#[tokio::test]
async fn a_name_is_one_part_of_a_path() {
    let peer = Peer::new().await;
    let store = peer.store();
    for (user, part) in [
        ("o'brien", "o%27brien"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("a%2fb", "a%252fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a:b@c;d", "a%3Ab%40c%3Bd"),
        ("{domain}", "%7Bdomain%7D"),
        ("a b HTTP/1.0", "a%20b%20HTTP%2F1.0"),
        ("ü", "%C3%BC"),
    ] {
        assert!(has_md5(&find(&store, user).await.unwrap()), "{user}");
        assert_eq!(peer.last(), format!("/v1/example.com/{part}?from=sip"));
    }
    let longest = "ü".repeat(31);
    assert!(has_md5(&find(&store, &longest).await.unwrap()));
    let asked = peer.seen.lock().unwrap().requests.len();
    for user in [".", "..", "a\r\nHost: b", "a\0b", "\u{7f}"] {
        assert!(matches!(find(&store, user).await.unwrap(), Known::Nobody));
    }
    assert_eq!(peer.seen.lock().unwrap().requests.len(), asked);
}

#[tokio::test]
async fn connections_are_used_again_and_never_more_than_asked_for() {
    let peer = Peer::new().await;
    let store = Arc::new(peer.store());
    for _ in 0..5 {
        find(&store, "alice").await.unwrap();
        find(&store, "nobody").await.unwrap();
    }
    assert_eq!(peer.seen.lock().unwrap().connections, 1);
    let mut asked = JoinSet::new();
    for _ in 0..6 {
        let store = Arc::clone(&store);
        asked.spawn(async move { find(&store, "slow").await.is_ok() });
    }
    assert_eq!(asked.join_all().await, [true; 6]);
    let seen = peer.seen.lock().unwrap();
    assert_eq!((seen.connections, seen.at_once_most), (2, 2));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_no_answer() {
    let peer = Peer::new().await;
    let store = peer.store();
    for _ in 0..3 {
        assert!(has_md5(&find(&store, "last").await.unwrap()));
    }
    assert_eq!(peer.seen.lock().unwrap().connections, 3);
}

#[tokio::test]
async fn a_path_that_hangs_costs_its_user_one_patience_and_nobody_else_anything() {
    let peer = Peer::new().await;
    let store = peer.store();
    for _ in 0..3 {
        let error = find(&store, "hangs").await.unwrap_err();
        assert_eq!(error.reason, "nothing within 300 ms");
        assert!(has_md5(&find(&store, "alice").await.unwrap()));
    }
    // The places of the three are free again: there are but two.
}

#[tokio::test]
async fn a_server_that_is_gone_comes_back_by_itself() {
    let peer = Peer::new().await;
    let (store, address) = (peer.store(), peer.address);
    find(&store, "alice").await.unwrap();
    drop(peer);
    let error = find(&store, "alice").await.unwrap_err();
    assert!(error.reason.starts_with("cannot connect: "), "{error}");
    let _peer = Peer::start(address).await;
    let back = async {
        while find(&store, "alice").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let back = tokio::time::timeout(Duration::from_secs(3), back).await;
    assert!(back.is_ok(), "it did not come back");
}

#[test]
fn urls_that_cannot_be_asked_are_refused() {
    for (url, says) in [
        ("https://10.0.0.1/{user}", "http://"),
        ("10.0.0.1/{user}", "http://"),
        ("http://10.0.0.1/users", "{user}"),
        ("http://10.0.0.1", "{user}"),
        ("http://{user}.example/", "{user}"),
        ("http://10.0.0.1?u={user}", "no path"),
        ("http://10.0.0.1/a b/{user}", "no path"),
        ("http://192.0.2.1/{user}", "public"),
        ("http://sip:secret@10.0.0.1/{user}", "not supported"),
        ("http:///{user}", "no host"),
    ] {
        let error = open(&[url.to_owned()], &OPTIONS).unwrap_err();
        assert!(
            error.contains(says) && !error.contains("secret"),
            "{url}: {error}"
        );
    }
}
