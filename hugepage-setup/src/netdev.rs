//! The netdev family of generic netlink (linux/netdev.h): what a driver has for XDP,
//! since Linux 6.3, and which NAPI and interrupt serve a queue, since 6.8.

use crate::netlink::NLM_F_DUMP;
use crate::netlink::Netlink;
use crate::netlink::find;
use crate::netlink::generic_attributes;
use crate::netlink::generic_header;
use crate::netlink::put;
use crate::netlink::to_u32;
use nix::errno::Errno;

/// NETDEV_CMD_*.
const DEV_GET: u8 = 1;
const QUEUE_GET: u8 = 10;
const NAPI_GET: u8 = 11;

/// NETDEV_A_*.
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;
const QUEUE_ID: u16 = 1;
const QUEUE_IFINDEX: u16 = 2;
const QUEUE_TYPE: u16 = 3;
const QUEUE_NAPI_ID: u16 = 4;
const NAPI_IFINDEX: u16 = 1;
const NAPI_ID: u16 = 2;
const NAPI_IRQ: u16 = 3;

const QUEUE_TYPE_RX: u32 = 0;

/// A receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its number.
    pub id: u32,
    /// The NAPI instance that serves it; `None` where the driver does not link them, and
    /// then busy polling finds nothing to poll.
    pub napi: Option<u32>,
    /// The interrupt of that NAPI.
    pub irq: Option<u32>,
}

/// NETDEV_XDP_ACT_* of a device.
///
/// # Errors
/// ENOENT on kernels before 6.3.
pub fn xdp_features(index: u32) -> nix::Result<u64> {
    let mut netlink = Netlink::generic()?;
    let family = netlink.family("netdev")?;
    let mut body = generic_header(DEV_GET);
    put(&mut body, DEV_IFINDEX, &index.to_ne_bytes());
    let answers = netlink.ask(family, 0, &body)?;
    let answer = answers.first().ok_or(Errno::EBADMSG)?;
    find(generic_attributes(answer), DEV_XDP_FEATURES)
        .and_then(|bits| bits.try_into().ok())
        .map(u64::from_ne_bytes)
        .ok_or(Errno::EBADMSG)
}

/// The receive queues of a device, in order.
///
/// # Errors
/// EOPNOTSUPP on kernels before 6.8.
pub fn queues(index: u32) -> nix::Result<Vec<Queue>> {
    let mut netlink = Netlink::generic()?;
    let family = netlink.family("netdev")?;
    let mut body = generic_header(NAPI_GET);
    put(&mut body, NAPI_IFINDEX, &index.to_ne_bytes());
    let napis = netlink.ask(family, NLM_F_DUMP, &body)?;
    let mut body = generic_header(QUEUE_GET);
    put(&mut body, QUEUE_IFINDEX, &index.to_ne_bytes());
    let queues = netlink.ask(family, NLM_F_DUMP, &body)?;
    Ok(join(&queues, &napis))
}

fn join(queues: &[Vec<u8>], napis: &[Vec<u8>]) -> Vec<Queue> {
    let number = |answer: &[u8], kind: u16| find(generic_attributes(answer), kind).and_then(to_u32);
    let irq_of = |napi: u32| {
        let napi = napis
            .iter()
            .find(|answer| number(answer, NAPI_ID) == Some(napi))?;
        number(napi, NAPI_IRQ)
    };
    let mut joined: Vec<Queue> = queues
        .iter()
        .filter(|answer| number(answer, QUEUE_TYPE) == Some(QUEUE_TYPE_RX))
        .filter_map(|answer| {
            let napi = number(answer, QUEUE_NAPI_ID);
            Some(Queue {
                id: number(answer, QUEUE_ID)?,
                napi,
                irq: napi.and_then(irq_of),
            })
        })
        .collect();
    joined.sort_by_key(|queue| queue.id);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: &[(u16, u32)]) -> Vec<u8> {
        let mut body = generic_header(0);
        for (kind, value) in attributes {
            put(&mut body, *kind, &value.to_ne_bytes());
        }
        body
    }

    #[test]
    fn queues_find_their_interrupts_through_their_napi() {
        let queues = [
            message(&[(QUEUE_ID, 1), (QUEUE_TYPE, 0), (QUEUE_NAPI_ID, 515)]),
            message(&[(QUEUE_ID, 0), (QUEUE_TYPE, 0), (QUEUE_NAPI_ID, 514)]),
            message(&[(QUEUE_ID, 0), (QUEUE_TYPE, 1), (QUEUE_NAPI_ID, 600)]),
            message(&[(QUEUE_ID, 2), (QUEUE_TYPE, 0)]),
        ];
        let napis = [
            message(&[(NAPI_ID, 514), (NAPI_IRQ, 40)]),
            message(&[(NAPI_ID, 515)]),
        ];
        let queue = |id, napi, irq| Queue { id, napi, irq };
        assert_eq!(
            join(&queues, &napis),
            [
                queue(0, Some(514), Some(40)),
                queue(1, Some(515), None),
                queue(2, None, None)
            ]
        );
    }
}
