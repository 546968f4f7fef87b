use super::*;

fn options(servers: &[&str]) -> Options {
    Options {
        servers: servers.iter().copied().map(str::to_owned).collect(),
        is_cluster: false,
        prefix: "location".to_owned(),
        remember: Duration::from_secs(3600),
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refusal = |options: &Options| Redis::new(options).unwrap_err().to_string();
    let of = |server: &str| options(&[server]);
    assert!(refusal(&of("localhost:6379")).contains("Write each as redis://host:port"));
    assert!(refusal(&options(&[])).contains("no server is named"));
    for prefix in ["", "a b", "loc*", "{loc}"] {
        let mut options = of("redis://127.0.0.1:1");
        options.prefix = prefix.to_owned();
        assert!(refusal(&options).contains("use letters"), "{prefix}");
    }
    let secret = Redis::new(&of("redis://us:secret@127.0.0.1:6400")).unwrap();
    assert_eq!(secret.servers.name, "Redis 127.0.0.1:6400");
}

#[test]
fn a_key_says_whose_it_is_whatever_the_user_is_called() {
    let names = Redis::new(&options(&["redis://127.0.0.1:1"]))
        .unwrap()
        .names;
    assert_eq!(
        names.key("example.net", b"alice"),
        b"location:{alice@example.net}"
    );
    for user in [&b"alice"[..], b"a@b", b"}{", b"\xff\0", b"@", b":{x}"] {
        let key = names.key("example.net", user);
        assert_eq!(names.user_of(&key), Some(("example.net", user)));
    }
    for other in [
        "location:x",
        "other:{a@b}",
        "location:{ab}",
        "location:{a@b",
        "",
    ] {
        assert_eq!(names.user_of(other.as_bytes()), None, "{other}");
    }
}
