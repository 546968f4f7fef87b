//! The flag of a wake-up: whether its consumer sleeps. Apart from the eventfd, so that loom can check it.
//!
//! Of a store and a load on either side of a sequentially consistent fence, at least one side sees
//! the other's store. So the consumer sees the message, or the producer sees the flag. The test under
//! `cfg(loom)` tries every interleaving; it is a package of its own, since loom is all that it needs:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p trunkline-loom
//! ```

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The flag and its fences: of a consumer that is awake at first.
#[derive(Debug, Default)]
pub struct Asleep(AtomicBool);

impl Asleep {
    /// Consumer: from here on producers are told that a wake-up is wanted.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        // Orders the store before the consumer's second look.
        fence(Ordering::SeqCst);
    }

    /// Consumer: no wake-up is wanted any more.
    pub fn retract(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Producer, after publishing: is a wake-up wanted?
    #[must_use]
    pub fn wanted(&self) -> bool {
        // Orders the producer's publication before the load.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::Condvar;
    use loom::sync::Mutex;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// The eventfd: a count that a sleeper waits for.
    struct Event(Mutex<bool>, Condvar);

    impl Event {
        fn write(&self) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }

        fn wait(&self) {
            let mut fired = self.0.lock().unwrap();
            while !*fired {
                fired = self.1.wait(fired).unwrap();
            }
            *fired = false;
        }
    }

    /// A consumer that waits without a timeout for `producers` messages, each
    /// from a thread of its own. A lost wake-up is a deadlock, and loom reports it.
    fn no_wake_up_is_lost(producers: usize) {
        let shared = Arc::new((
            Asleep::default(),
            AtomicUsize::new(0),
            Event(Mutex::new(false), Condvar::new()),
        ));
        let threads: Vec<_> = (0..producers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (asleep, mail, event) = &*shared;
                    // Relaxed on purpose: only the fences order it with the flag.
                    mail.fetch_add(1, Ordering::Relaxed);
                    if asleep.wanted() {
                        event.write();
                    }
                })
            })
            .collect();
        let (asleep, mail, event) = &*shared;
        let mut seen = mail.load(Ordering::Relaxed);
        while seen < producers {
            asleep.announce();
            if mail.load(Ordering::Relaxed) == seen {
                event.wait();
            }
            asleep.retract();
            seen = mail.load(Ordering::Relaxed);
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn wake_one_producer() {
        loom::model(|| no_wake_up_is_lost(1));
    }

    #[test]
    fn wake_two_producers() {
        // Three threads have too many interleavings to try them all; those with
        // up to three preemptions are known to show nearly every fault.
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| no_wake_up_is_lost(2));
    }
}
