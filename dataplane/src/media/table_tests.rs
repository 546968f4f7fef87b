use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::flow::FlowKind;
use super::*;
use crate::ids::WorkerId;

const ACCESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1));
const CORE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1));

fn call(slot: u32, generation: u32) -> CallRef {
    CallRef {
        owner: WorkerId(1),
        slot,
        generation,
    }
}

fn spec(local: SocketAddr, call: CallRef) -> FlowSpec {
    FlowSpec {
        local,
        kind: FlowKind::Rtp,
        source: Some("10.77.1.2:6000".parse().unwrap()),
        destination: None,
        relay: SocketAddr::new(CORE, 20_000),
        payload_types: 1 << 8,
        call,
    }
}

fn table() -> FlowTable {
    let ranges = [
        (ACCESS, 20_000..=20_099),
        (CORE, 20_000..=20_009),
        (ACCESS, 30_000..=30_001),
    ];
    FlowTable::new(&ranges, &[]).unwrap()
}

#[test]
fn covers_its_ranges_and_nothing_else() {
    let table = table();
    let covers = |address, port| table.covers(SocketAddr::new(address, port));
    assert!(covers(ACCESS, 20_000) && covers(ACCESS, 20_099) && covers(ACCESS, 30_001));
    assert!(covers(CORE, 20_009) && !covers(CORE, 20_010) && !covers(CORE, 30_000));
    assert!(!covers(ACCESS, 19_999) && !covers(ACCESS, 20_100) && !covers(ACCESS, 0));
    assert_eq!(table.slot_count(), 112);
}

#[test]
fn refuses_ranges_that_cannot_be() {
    let new = |ranges: &[_]| FlowTable::new(ranges, &[]).map(|_| ()).unwrap_err();
    let (high, low) = (9u16, 5u16);
    assert_eq!(
        new(&[(CORE, high..=low)]),
        RangeError::Empty { address: CORE }
    );
    let overlap = RangeError::Overlap { address: CORE };
    assert_eq!(
        new(&[(CORE, 5..=9), (ACCESS, 1..=9), (CORE, 9..=10)]),
        overlap
    );
    let many: Vec<_> = (0..9u16).map(|at| (CORE, at..=at)).collect();
    assert_eq!(new(&many), RangeError::TooMany { given: 9 });
}

#[test]
fn the_last_port_of_all_has_a_slot() {
    let mut table = FlowTable::new(&[(CORE, 0..=u16::MAX)], &[]).unwrap();
    let local = SocketAddr::new(CORE, u16::MAX);
    assert_eq!(table.open(&spec(local, call(1, 1))), Opened::New);
    assert_eq!(
        table.reports(0, usize::MAX).next().unwrap().spec.local,
        local
    );
}

#[test]
fn a_report_tells_what_was_opened() {
    let mut table = table();
    let mut spec = spec(SocketAddr::new(CORE, 20_004), call(7, 3));
    for kind in [FlowKind::Rtp, FlowKind::Rtcp, FlowKind::RtpAndRtcp] {
        spec.kind = kind;
        spec.destination = Some("10.77.1.2:7000".parse().unwrap());
        let _ = table.open(&spec);
        assert_eq!(table.report(spec.local).unwrap().spec, spec);
        spec.source = None;
        spec.destination = None;
        let _ = table.open(&spec);
        assert_eq!(table.report(spec.local).unwrap().spec, spec);
    }
}

#[test]
fn close_is_final_and_a_stale_close_is_ignored() {
    let mut table = table();
    let local = SocketAddr::new(ACCESS, 20_010);
    assert_eq!(table.open(&spec(local, call(1, 1))), Opened::New);
    assert_eq!(table.close(local, call(1, 0)), None);
    assert_eq!(table.close(local, call(2, 1)), None);
    assert_eq!(table.open_count(), 1);
    assert!(table.close(local, call(1, 1)).is_some());
    assert_eq!(table.close(local, call(1, 1)), None);
    assert_eq!((table.open_count(), table.report(local)), (0, None));
}

#[test]
fn another_call_on_an_open_port_ends_the_first() {
    let mut table = table();
    let local = SocketAddr::new(ACCESS, 20_010);
    let _ = table.open(&spec(local, call(1, 1)));
    let Opened::Replaced(report) = table.open(&spec(local, call(1, 2))) else {
        panic!("the first call's flow was not ended");
    };
    assert_eq!(report.spec.call, call(1, 1));
    assert_eq!(
        (table.open_count(), table.close(local, call(1, 1))),
        (1, None)
    );
}

#[test]
fn a_port_outside_opens_nothing() {
    let mut table = table();
    let local = SocketAddr::new(ACCESS, 40_000);
    assert_eq!(table.open(&spec(local, call(1, 1))), Opened::OutsideRanges);
    assert_eq!(
        (table.open_count(), table.close(local, call(1, 1))),
        (0, None)
    );
}

proptest! {
    #[test]
    fn pages_of_reports_show_each_open_flow_once(
        ports in proptest::collection::btree_set(0usize..112, 0..40),
        page in 1usize..50,
    ) {
        let mut table = table();
        let locals: Vec<_> = ports.iter().map(|&slot| table.local_of(slot).unwrap()).collect();
        for &local in &locals {
            prop_assert_eq!(table.open(&spec(local, call(1, 1))), Opened::New);
        }
        let mut shown = Vec::new();
        for from in (0..table.slot_count()).step_by(page) {
            shown.extend(table.reports(from, page).map(|report| report.spec.local));
        }
        prop_assert_eq!(shown, locals);
        prop_assert_eq!(table.open_count(), ports.len());
    }
}
