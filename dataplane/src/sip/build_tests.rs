use super::*;

const INVITE: &str = "INVITE sip:bob@192.0.2.4 SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport\r\n\
    Timestamp: 54\r\n\
    v: SIP/2.0/UDP b.example.com;branch=z9hG4bKb\r\n\
    Record-Route: <sip:p;lr>\r\n\
    Route: <sip:r1;lr>,\r\n <sip:r2;lr>\r\n\
    f: Alice <sip:alice@example.com>;tag=f\r\n\
    To:\r\n <sip:bob@example.com>\r\n\
    Call-ID: id\r\n\
    CSeq: 0042 INVITE\r\n\
    Max-Forwards: 9\r\n\
    Content-Length: 4\r\n\
    \r\nv=0\n";

fn built(fill: impl Fn(&Message<'_>, &mut [u8]) -> Result<usize, TooLong>) -> String {
    let message = Message::scan(INVITE.as_bytes()).unwrap();
    let mut out = [0; 2_048];
    let len = fill(&message, &mut out).unwrap();
    assert!(Message::scan(&out[..len]).is_ok());
    assert_eq!(fill(&message, &mut vec![0; len - 1]), Err(TooLong));
    String::from_utf8(out[..len].to_vec()).unwrap()
}

#[test]
fn a_final_response_repeats_what_names_the_transaction() {
    let source = Some("198.51.100.7:5062".parse().unwrap());
    let answer = Response {
        to_tag: Some(b"t"),
        source,
        lines: b"Reason: x\r\n",
        ..Response::new(486)
    };
    assert_eq!(
        built(|message, out| response(message, &answer, out)),
        "SIP/2.0 486 Busy Here\r\n\
         Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport=5062;received=198.51.100.7\r\n\
         v: SIP/2.0/UDP b.example.com;branch=z9hG4bKb\r\n\
         f: Alice <sip:alice@example.com>;tag=f\r\n\
         To: <sip:bob@example.com>;tag=t\r\n\
         Call-ID: id\r\n\
         CSeq: 0042 INVITE\r\n\
         Reason: x\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_100_carries_the_timestamp_and_no_tag() {
    let answer = Response {
        to_tag: Some(b"t"),
        ..Response::new(100)
    };
    assert_eq!(
        built(|message, out| response(message, &answer, out)),
        "SIP/2.0 100 Trying\r\n\
         Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport\r\n\
         v: SIP/2.0/UDP b.example.com;branch=z9hG4bKb\r\n\
         f: Alice <sip:alice@example.com>;tag=f\r\n\
         To: <sip:bob@example.com>\r\n\
         Call-ID: id\r\n\
         CSeq: 0042 INVITE\r\n\
         Timestamp: 54\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_response_is_stamped_as_the_request_would_be() {
    for via in [
        "h;received=10.0.0.1;rport",
        "h;rport=1;x;received=10.0.0.1;y",
        "h;rport;x",
        "198.51.100.7",
        "h , SIP/2.0/UDP i;rport",
    ] {
        let invite = INVITE.replacen("a.example.com;branch=z9hG4bKa;rport", via, 1);
        let message = Message::scan(invite.as_bytes()).unwrap();
        let source: SocketAddr = "198.51.100.7:5062".parse().unwrap();
        let mut splices = super::super::edit::Splices::new();
        super::super::edit::stamp_via(&message, &mut splices, source).unwrap();
        let mut out = [0; 2_048];
        let len = splices.write(message.bytes(), &mut out).unwrap();
        let stamped = Message::scan(&out[..len]).unwrap();
        let line = stamped.text(stamped.via_line()).to_vec();
        let mut out = [0; 2_048];
        let answer = Response {
            source: Some(source),
            ..Response::new(400)
        };
        let len = response(&message, &answer, &mut out).unwrap();
        let answer = Message::scan(&out[..len]).unwrap();
        assert_eq!(answer.text(answer.via_line()), line, "{via}");
    }
}

#[test]
fn an_ack_names_the_invites_transaction_and_the_responses_to() {
    let answer = INVITE.replacen("INVITE sip:bob@192.0.2.4 SIP/2.0", "SIP/2.0 486 Busy", 1);
    let answer = answer.replacen("bob@example.com>", "bob@example.com>;tag=t", 1);
    let answer = Message::scan(answer.as_bytes()).unwrap();
    assert_eq!(
        built(|message, out| {
            let mut head = [0; 2_048];
            let head_len = ack_head(message, &mut head)?;
            ack(&head[..head_len], &answer, out)
        }),
        "ACK sip:bob@192.0.2.4 SIP/2.0\r\n\
         Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport\r\n\
         Route: <sip:r1;lr>,\r\n <sip:r2;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: Alice <sip:alice@example.com>;tag=f\r\n\
         To: <sip:bob@example.com>;tag=t\r\n\
         Call-ID: id\r\n\
         CSeq: 42 ACK\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_cancel_has_the_invites_own_to_and_its_branch() {
    assert_eq!(
        built(cancel),
        "CANCEL sip:bob@192.0.2.4 SIP/2.0\r\n\
         Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport\r\n\
         Route: <sip:r1;lr>,\r\n <sip:r2;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: Alice <sip:alice@example.com>;tag=f\r\n\
         To: <sip:bob@example.com>\r\n\
         Call-ID: id\r\n\
         CSeq: 42 CANCEL\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn unknown_codes_have_the_phrase_of_their_class() {
    assert_eq!(reason_phrase(486), "Busy Here");
    assert_eq!(reason_phrase(499), "Request Failure");
    assert_eq!(reason_phrase(699), "Global Failure");
}
