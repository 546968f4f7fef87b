//! Files of subscribers, good and bad.

use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::settings::Domain;

use super::file::Bad;
use super::file::read;
use super::*;
use crate::subscribers::Directory;

fn directory() -> Directory {
    let domain = |(name, algorithms): (&str, &[Algorithm])| Domain {
        name: name.to_owned(),
        trunk: TrunkIndex(0),
        algorithms: algorithms.to_vec(),
        registrar: false,
        upstream: None,
        calls: 0,
        located: false,
    };
    let domains = [
        ("example.org", &[Algorithm::Sha256, Algorithm::Md5][..]),
        ("old.example.org", &[Algorithm::Md5]),
    ];
    Directory {
        domains: domains.map(domain).to_vec(),
        store: None,
    }
}

fn bad(source: &[u8]) -> Vec<Bad> {
    let lines = read(source, &directory()).unwrap();
    assert!(lines.entries.is_empty(), "{:?}", lines.entries);
    lines.bad
}

#[test]
fn a_file_of_passwords_becomes_ha1s() {
    let source = "\u{feff}Domain,user,password\r\nexample.org,bob,\"a \"\"b\"\", c\"\r\nOLD.example.org,Al, x \r\n";
    let lines = read(source.as_bytes(), &directory()).unwrap();
    assert_eq!(lines.bad, []);
    let [bob, al] = &lines.entries[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(bob.who.to_string(), "bob@example.org");
    assert_eq!(al.who.to_string(), "Al@old.example.org");
    for algorithm in Algorithm::ALL {
        // RFC 7616 §3.4.2: a blank is a part of a password.
        let bobs = algorithm.hash(&[b"bob", b"example.org", b"a \"b\", c"]);
        assert!(bob.ha1s.get(algorithm).unwrap().is(&bobs));
        let als = algorithm.hash(&[b"Al", b"old.example.org", b" x "]);
        assert!(al.ha1s.get(algorithm).unwrap().is(&als));
    }
}

#[test]
fn a_file_of_ha1s_needs_those_of_the_domain() {
    let (md5, sha256) = ("00112233445566778899aabbccddeeff", "A".repeat(64));
    let source = format!(
        "user,domain,ha1_sha256,ha1_md5\nbob,example.org,{sha256},{md5}\nal,old.example.org,,{md5}\n\
         cy,example.org,,{md5}\ndi,example.org,{md5},{md5}\n"
    );
    let lines = read(source.as_bytes(), &directory()).unwrap();
    let who: Vec<_> = lines
        .entries
        .iter()
        .map(|entry| entry.who.user.as_str())
        .collect();
    assert_eq!(who, ["bob", "al"]);
    assert!(lines.entries[1].ha1s.get(Algorithm::Sha256).is_none());
    let sha256 = Hash::new(&[0xaa; 32]);
    assert!(
        lines.entries[0]
            .ha1s
            .get(Algorithm::Sha256)
            .unwrap()
            .is(&sha256)
    );
    insta::assert_snapshot!(format!("{:#?}", lines.bad));
}

#[test]
fn lines_that_are_wrong_are_told_by_their_numbers() {
    let source = b"user,domain,password\n\
        bob,example.org\n\
        bob,example.org,x,y\n\
        bob,example.com,x\n\
        ,example.org,x\n\
        \n\
        sip:bob,example.org,x\n\
        bob,example.org,\n\
        \"two\nlines\",example.org,x\n\
        b\xff,example.org,x\n\
        al,example.org,\"x\ncy,example.org,y\n";
    insta::assert_snapshot!(format!("{:#?}", bad(source)));
    let twice = read(
        &b"user,domain,password\nbob,example.org,x\nbob,Example.org,y\n"[..],
        &directory(),
    );
    let twice = twice.unwrap();
    assert_eq!(twice.entries.len(), 1);
    assert_eq!(twice.bad[0].line, 3);
    assert_eq!(
        twice.bad[0].error,
        "bob@example.org stands in line 2 already"
    );
}

#[test]
fn a_first_line_that_is_wrong_is_the_files_end() {
    let mut refusals = String::new();
    for header in [
        "",
        "bob,example.org,secret",
        "user,domain",
        "user,password",
        "user,user,domain,password",
        "user,domain,password,ha1_md5",
        "user;domain;password",
        "user\tdomain\tpassword",
        "\u{1b}[2J\0\u{fffd}",
        &"a".repeat(1000),
    ] {
        let error = read(format!("{header}\n").as_bytes(), &directory()).unwrap_err();
        let header: String = header.chars().take(50).collect();
        refusals += &format!("{header:?}: {error}\n");
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn an_ha1_on_the_command_line_is_whole_or_refused() {
    let md5 = "MD5=00112233445566778899AABBCCDDEEFF";
    assert_eq!(md5.parse::<Ha1>().unwrap().hash.bytes()[1], 0x11);
    for wrong in [
        "",
        "MD5",
        "SHA-1=00",
        "MD5=0011",
        "SHA-256=00112233445566778899aabbccddeeff",
    ] {
        assert!(wrong.parse::<Ha1>().is_err(), "{wrong}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        source in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
    ) {
        let with_header = [b"user,domain,password\n", source.as_slice()].concat();
        for source in [source, with_header] {
            if let Ok(lines) = read(source.as_slice(), &directory()) {
                proptest::prop_assert!(lines.bad.iter().all(|bad| bad.line > 1));
            }
        }
    }
}

#[test]
fn ha1s_are_read_a_line_each_and_what_is_wrong_is_said_without_them() {
    let (md5, sha256) = ("00112233445566778899aabbccddeeff", "a".repeat(64));
    let source = format!("MD5={md5}\r\n\n  sha-256={sha256}");
    let Ok(all) = secret::read(source.as_bytes()) else {
        panic!("they are good")
    };
    let all = gathered(&all);
    let has = |algorithm| all.get(algorithm).is_some();
    assert!(has(Algorithm::Md5) && has(Algorithm::Sha256));
    assert!(!has(Algorithm::Sha512T256));
    let wrong = |source: &str| match secret::read(source.as_bytes()) {
        Err(Failure::Usage(text)) => text,
        _ => panic!("{source}"),
    };
    let said = [
        wrong(md5),
        wrong(&format!("MD5={md5}\nSHA-256={md5}")),
        wrong(&format!("MD6={md5}")),
    ];
    assert!(!said.concat().contains(&md5[..8]));
    insta::assert_snapshot!(said.join("\n"));
    assert!(matches!("-".parse::<Given>(), Ok(Given::OnStdin)));
    assert!(matches!(
        format!("MD5={md5}").parse::<Given>(),
        Ok(Given::Here(Ha1 { .. }))
    ));
}
