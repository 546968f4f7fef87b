//! Keeping the neighbours resolved that the workers send to.
//!
//! XDP takes the workers' traffic past the kernel, so the kernel does not see that a
//! neighbour is in use and would let it go stale. A managed entry (Linux 5.16) is
//! one that the kernel keeps resolving by itself. Where it knows none, it is asked
//! anew, again and again. An entry that an administrator has set is left alone: a
//! request would take its state and its link address from it.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use netlink_packet_route::neighbour::NeighbourAttribute;
use netlink_packet_route::neighbour::NeighbourExtFlags;
use netlink_packet_route::neighbour::NeighbourFlags;
use netlink_packet_route::neighbour::NeighbourState;
use rtnetlink::Handle;
use tokio::sync::watch;

use super::NeighbourKey;
use super::dump;

/// Most entries that we have the kernel manage. What signalling names comes from
/// outside; the kernel's table must not grow with it.
const MANAGED_MAX: usize = 1024;

/// How often one neighbour is asked for at most.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How often one that the kernel does not manage is asked for again: well within the
/// time in which the kernel's own probing gives up or lets an entry go stale.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How many neighbours are asked for in a second at most.
const ASKS_A_SECOND: u32 = 200;

/// Most neighbours that wait for their second.
const LATER_MAX: usize = 4096;

/// The neighbours that we want resolved.
#[derive(Debug)]
pub struct Neighbours {
    handle: Handle,
    /// Those that an administrator has set, as the mirror last saw them.
    fixed: watch::Receiver<HashSet<NeighbourKey>>,
    wanted: HashMap<NeighbourKey, Want>,
    /// False once the kernel has refused a managed entry.
    can_manage: bool,
    /// How many were asked for since the last tick.
    asked: u32,
    /// Those for which there was no more room in this second.
    later: VecDeque<NeighbourKey>,
}

#[derive(Debug)]
struct Want {
    managed: bool,
    asked: Instant,
}

impl Neighbours {
    /// Nothing wanted yet; `fixed` are those that are not to be touched.
    #[must_use]
    pub fn new(handle: Handle, fixed: watch::Receiver<HashSet<NeighbourKey>>) -> Neighbours {
        Neighbours {
            handle,
            fixed,
            wanted: HashMap::new(),
            can_manage: true,
            asked: 0,
            later: VecDeque::new(),
        }
    }

    /// Has the kernel resolve `address` on link `ifindex`, and keep it resolved. Asks
    /// no more than once a second for each, and for no more than 200 a second.
    /// Gives the kernel's refusal, as a sentence, the first time that there is one.
    pub async fn want(&mut self, ifindex: u32, address: IpAddr) -> Option<String> {
        let key = (ifindex, address);
        let is_fixed = self.fixed.borrow().contains(&key);
        if is_fixed || !self.may_ask(key) {
            return None;
        }
        let full = self.wanted.len() >= MANAGED_MAX && !self.wanted.contains_key(&key);
        let mut notice = None;
        let mut managed = self.can_manage && !full;
        let mut answer = self.ask(ifindex, address, managed).await;
        if managed && answer.as_ref().is_err_and(is_not_supported) {
            let refusal = answer;
            managed = false;
            answer = self.ask(ifindex, address, managed).await;
            // Where this is refused as well, it was not for the flag.
            if let (Err(error), Ok(())) = (refusal, &answer) {
                self.can_manage = false;
                notice = Some(format!(
                    "the kernel keeps no managed neighbours ({error}): they are asked for anew where they go missing"
                ));
            }
        }
        if !full {
            // What was refused is tried again by the tick.
            let want = Want {
                managed: managed && answer.is_ok(),
                asked: Instant::now(),
            };
            self.wanted.insert(key, want);
        }
        match answer {
            Err(error) => Some(format!("cannot resolve {address}: {error}")),
            Ok(()) => notice,
        }
    }

    fn may_ask(&mut self, key: NeighbourKey) -> bool {
        let recently = |want: &Want| want.asked.elapsed() < ASK_EVERY;
        if self.wanted.get(&key).is_some_and(recently) {
            return false;
        }
        if self.asked >= ASKS_A_SECOND {
            if self.later.len() < LATER_MAX && !self.later.contains(&key) {
                self.later.push_back(key);
            }
            return false;
        }
        self.asked += 1;
        true
    }

    /// To be called once a second: goes on with what had to wait, and asks again for
    /// what the kernel does not keep resolved by itself.
    pub async fn tick(&mut self) {
        self.asked = 0;
        let fixed = self.fixed.borrow().clone();
        self.wanted.retain(|key, _| !fixed.contains(key));
        for (ifindex, address) in std::mem::take(&mut self.later) {
            // A refusal has been told when it first came.
            let _ = self.want(ifindex, address).await;
        }
        let due = |want: &Want| !want.managed && want.asked.elapsed() >= ASK_AGAIN;
        let due: Vec<_> = self
            .wanted
            .iter()
            .filter(|(_, want)| due(want))
            .map(|(key, _)| *key)
            .collect();
        for (ifindex, address) in due {
            let _ = self.want(ifindex, address).await;
        }
    }

    /// Asks the kernel, over a new connection where the one at hand is dead.
    async fn ask(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        managed: bool,
    ) -> Result<(), rtnetlink::Error> {
        let answer = self.request(ifindex, address, managed).await;
        if !matches!(answer, Err(rtnetlink::Error::RequestFailed)) {
            return answer;
        }
        let Ok(fresh) = super::connect() else {
            return answer;
        };
        self.handle = fresh;
        self.request(ifindex, address, managed).await
    }

    async fn request(
        &self,
        ifindex: u32,
        address: IpAddr,
        managed: bool,
    ) -> Result<(), rtnetlink::Error> {
        let neighbours = self.handle.neighbours();
        let mut request = neighbours
            .add(ifindex, address)
            .state(NeighbourState::None)
            .replace();
        if managed {
            let flags = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
            request.message_mut().attributes.push(flags);
        } else {
            // NTF_USE: resolve as if a packet were to be sent.
            request = request.flags(NeighbourFlags::Use);
        }
        request.execute().await
    }

    /// Gives the managed entries back to the kernel's own judgement.
    pub async fn release(&mut self) {
        // The mirror has ended before us: look again what an administrator has set since.
        let fixed = match dump::neighbours(&self.handle).await {
            Ok(neighbours) => dump::fixed(&neighbours),
            Err(_) => self.fixed.borrow().clone(),
        };
        for ((ifindex, address), want) in std::mem::take(&mut self.wanted) {
            if want.managed && !fixed.contains(&(ifindex, address)) {
                // A replacement without the flag takes it off; an entry that is gone is fine too.
                let _ = self.ask(ifindex, address, false).await;
            }
        }
    }
}

/// True where the kernel says that it does not know what it was asked for.
fn is_not_supported(error: &rtnetlink::Error) -> bool {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            matches!(message.raw_code().abs(), libc::EINVAL | libc::EOPNOTSUPP)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A handle whose connection has ended.
    fn dead() -> Handle {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        drop(connection);
        handle
    }

    #[tokio::test]
    async fn a_dead_connection_is_replaced_and_is_no_refusal() {
        let (_fixed, seen) = watch::channel(HashSet::new());
        let mut neighbours = Neighbours::new(dead(), seen);
        let key = (
            i32::MAX.unsigned_abs(),
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        );
        // There is no such link (or no privilege to ask): it is the kernel that says so.
        let said = neighbours.want(key.0, key.1).await.unwrap();
        assert!(said.starts_with("cannot resolve 192.0.2.1"), "{said}");
        assert!(!said.contains("request failed"), "{said}");
        assert!(
            neighbours.can_manage,
            "a missing link says nothing of the kernel"
        );
        assert!(!neighbours.wanted[&key].managed);
    }

    #[tokio::test]
    async fn a_fixed_neighbour_is_not_asked_for() {
        let key = (
            i32::MAX.unsigned_abs(),
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        );
        let (_fixed, seen) = watch::channel(HashSet::from([key]));
        let mut neighbours = Neighbours::new(dead(), seen);
        assert_eq!(neighbours.want(key.0, key.1).await, None);
        assert!(neighbours.wanted.is_empty());
    }
}
