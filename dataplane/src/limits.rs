//! Every bound of the engine, with why it has this value.

/// Frames taken off the rings in one turn. Large enough to share the cost of a
/// turn, small enough that a batch of headers stays in the first-level cache.
pub const BATCH: usize = 64;

/// Mails that a worker-to-worker mailbox holds: 50 ms at 100,000 messages a second.
pub const MAILBOX_MAILS: usize = 8192;

/// Mails of a mailbox that are kept for flow changes: however much SIP is handed over,
/// the flows of 64 calls find room.
pub const FLOW_MAILS_RESERVED: usize = 1024;

/// Bytes of SIP messages that a mailbox holds: 4 MiB are 5,000 messages of 800 bytes.
pub const MAILBOX_BYTES: usize = 4 << 20;

/// SIP messages from a worker for the kernel to send that may wait for control, which
/// reads them within a millisecond: a burst to a neighbour that is being resolved.
pub const KERNEL_MAILS: usize = 1024;

/// Bytes of these messages: sixteen of the largest.
pub const KERNEL_BYTES: usize = 1 << 20;

/// SIP messages of a worker to a listen of the box itself that may wait: all of them are
/// read in the next turn, and one input causes at most [`SENDS_PER_INPUT`].
pub const OWN_MAILS: usize = 1024;

/// Bytes of these messages: sixteen of the largest.
pub const OWN_BYTES: usize = 1 << 20;

/// Reports to control that may wait. Control drains them within a tick of 100 ms.
pub const REPORTS: usize = 16384;

/// Slots of a table that a worker looks at in one turn for an answer to the operator:
/// a few microseconds.
pub const SLOTS_PER_TURN: usize = 64;

/// Timers that fire in one turn; the rest fire in the next, a few microseconds later.
pub const TIMERS_PER_TURN: usize = 64;

/// Requests that go on in one turn of those that waited for something outside; the rest in the next.
pub const RESUMED_PER_TURN: usize = 16;

/// Nanoseconds between two visits of housekeeping: counters are published then.
pub const HOUSEKEEPING_NS: u64 = 50_000_000;

/// The longest sleep of an adaptive worker: housekeeping is late by so much at most.
pub const SLEEP_NS_MAX: u64 = 100_000_000;

/// How long an adaptive worker spins without work before it sleeps. Longer burns
/// the core at low rates, shorter costs a system call for packets a few
/// microseconds apart.
pub const SPIN_NS: u64 = 20_000;

/// Captures that can be under way at once. Each costs a comparison a SIP message.
pub const CAPTURES: usize = 4;

/// Captured packets that may wait for control, which takes them every 100 ms: one call's
/// media is 20.
pub const CAPTURE_PACKETS: usize = 8192;

/// Their bytes: 1,300 SIP messages of 800 bytes.
pub const CAPTURE_BYTES: usize = 1 << 20;

/// Calls of one capture whose media is taken.
pub const CAPTURE_CALLS: usize = 8;

/// Bytes of a media packet that are captured: Ethernet, two tags, IPv6, UDP and the RTP header
/// with a few extensions, but no speech.
pub const CAPTURE_MEDIA_SNAP: usize = 96;

/// Nanoseconds between two sampled turns. A sampled turn reads the clock two or three
/// times a packet, 25 ns each: with 64 packets 5 µs, half a percent of a core.
pub const SAMPLE_PAUSE_NS: u64 = 1_000_000;

/// The longest time that a histogram tells from longer ones: 10 s.
pub const SAMPLE_NS_MAX: u64 = 10_000_000_000;

/// Sources of SIP that are told apart when samples are taken.
pub const TALKERS: usize = 32;

/// The largest SIP message: what a UDP datagram over IPv4 can carry.
pub const SIP_LEN_MAX: usize = 65_507;

/// The largest datagram that the kernel's sockets can receive. What is longer than
/// [`SIP_LEN_MAX`] came over IPv6 and is refused with a 513.
pub const DATAGRAM_LEN_MAX: usize = 65_535;

/// Streams (`m=` lines) of one call that are anchored.
pub const STREAMS_MAX: usize = 4;

/// Offers of one call that are not settled, and early dialogs of it that do not play. An INVITE
/// answered early, with an UPDATE of each party under way inside it, is three.
pub const OFFERS_PER_CALL: usize = 4;

/// Branches of one request that are under way at once (RFC 3261 §16.6): each is a message and,
/// for an INVITE, a call.
pub const BRANCHES_MAX: usize = 8;

/// Targets that one request may be sent to, at once or one after the other.
pub const TARGETS_MAX: usize = 16;

/// Bytes of challenges that are told beside those of the best response (RFC 3261 §16.7 step 7):
/// several of each target.
pub const CHALLENGES_LEN_MAX: usize = 4096;

/// Messages that one input to the SIP core can cause: one to each target, an answer, a 100 and
/// an ACK.
pub const SENDS_PER_INPUT: usize = TARGETS_MAX + 4;

/// Flow changes that one input can cause: for each target a call's streams, two sides, RTP and
/// RTCP, opened and, where the message can then not be sent, closed again.
pub const FLOWS_PER_INPUT: usize = TARGETS_MAX * STREAMS_MAX * 4 * 2;

/// Questions that one input can cause: a request has something asked again in the background, and
/// waits for something else, or registers; and its source is told of, of who registers twice.
pub const QUESTIONS_PER_INPUT: usize = 3;

/// Bytes of text that are kept of one dialog: Call-ID, URIs, tags, targets and route sets.
pub const DIALOG_LEN_MAX: usize = 2048;

/// Bytes of a route set that are kept, and how many values it may have. Each side of a call
/// has one; few calls pass more than two other proxies a side.
pub const ROUTE_SET_LEN_MAX: usize = 1024;
/// See [`ROUTE_SET_LEN_MAX`].
pub const ROUTE_SET_MAX: usize = 16;

/// Blocks of 128 bytes for the texts of dialogs, for each call: the text of a dialog with route
/// sets of 300 bytes is 550 bytes. Calls with less lend to calls with more.
pub const DIALOG_BLOCKS_PER_CALL: u32 = 5;

/// Contacts that an address of record may have at once, whatever is configured: several phones of one
/// user, each by several flows (RFC 5626 §4.2.1), and few enough to be compared one with another.
pub const CONTACTS_MAX: usize = 16;

/// Bytes of a Contact that are kept: its URI and its parameters. Phones send 80 to 250.
pub const CONTACT_LEN_MAX: usize = 512;

/// REGISTERs of which it is remembered that a later one has undone them, for as long as they might be
/// repeated: those of 32 s in which 128 contacts a second are removed or change hands. As many removals are
/// remembered, in case a store that is being read still has what they took away.
pub const REGISTERS_UNDONE: usize = 4096;

/// Sources that are banned at once. Where there are more those whose ban ends soonest are heard again: so
/// many that fail within the length of a ban are not stopped by their addresses.
pub const BANS: u32 = 8192;

/// Sources whose failures a worker counts at once, of those that it keeps.
pub const FAILING_SOURCES: u32 = 8192;

/// Sources of which a worker knows how much they have sent, and as many of which it knows that somebody
/// is registered from there.
pub const RATED_SOURCES: u32 = 16_384;

/// Bindings that are looked at in one turn for one of a source: some 2 µs.
pub const BINDINGS_PER_TURN: u32 = 64;
/// Letters of bindings to control that may wait. Control takes them within a tick of 100 ms: those of 50,000
/// REGISTERs a second. When half of them are taken it is woken.
pub const LETTERS: usize = 8192;

/// Bytes of their texts: some 200 for each.
pub const LETTERS_BYTES: usize = 2 << 20;

/// Letters of a turn: a few microseconds.
pub const LETTERS_PER_TURN: usize = 64;

/// Removed bindings that wait for room in the ring to control, beside all that are in it.
pub const REMOVALS_UNTOLD: usize = 1024;

/// Bytes of their texts.
pub const REMOVALS_UNTOLD_BYTES: usize = 256 << 10;

/// Addresses of record of which it is remembered that the location store has told all that it has.
pub const ASKED: usize = 4096;

/// Slots of a turn that are looked at for bindings that the location store has lost: a few microseconds.
pub const LOST_PER_TURN: usize = 64;

/// The highest number of a request (RFC 3261 §8.1.1.5).
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// The least session interval there is, in seconds (RFC 4028 §5).
pub const SESSION_MIN_S: u32 = 90;

/// When the box tries again to end a call, where it found no room for its BYE.
pub const BYE_RETRY_MS: u64 = 1_000;

/// A call without an end: after so long its flows are closed and it is forgotten.
pub const CALL_MS_MAX: u64 = 12 * 3600 * 1000;

/// How long media may still pass after the call's end, so that what was under way
/// when the BYE passed is not lost.
pub const MEDIA_GRACE_MS: u64 = 500;

/// How long a media port rests before another call may have it, so that a late
/// packet of one call cannot reach the next.
pub const PORT_QUARANTINE_MS: u64 = 5_000;

/// Of so many parts of the transactions one is kept for requests that belong to a dialog.
pub const IN_PROGRESS_PART: u32 = 8;

/// Refusals that are remembered at once, so that retransmissions get the same answer.
pub const REFUSALS: usize = 8192;

/// Subscribers of whom a worker remembers what they were last denied.
pub const DENIALS: usize = 1024;

/// RFC 3261 §17.1.1.1: the round-trip estimate.
pub const T1_MS: u64 = 500;
/// RFC 3261 §17.1.2.1: the longest retransmission interval.
pub const T2_MS: u64 = 4_000;
/// RFC 3261 §17.1.2.2: how long a message may stay in the network.
pub const T4_MS: u64 = 5_000;
/// Timers B, F, H, J (RFC 3261 §17) and L, M (RFC 6026 §7).
pub const T1_64_MS: u64 = 64 * T1_MS;
/// Timer C (RFC 3261 §16.6 step 11): more than three minutes.
pub const TIMER_C_MS: u64 = 181_000;
/// Timer D (RFC 3261 §17.1.1.2): at least 32 s over UDP.
pub const TIMER_D_MS: u64 = 32_000;

const _: () = assert!(BATCH.is_power_of_two());
const _: () = assert!(PORT_QUARANTINE_MS > MEDIA_GRACE_MS);
const _: () = assert!(CAPTURES <= 8); // A set of them is a byte.
const _: () = assert!(CAPTURE_BYTES > 8 * SIP_LEN_MAX);
const _: () = assert!(MAILBOX_BYTES > 4 * SIP_LEN_MAX);
const _: () = assert!(KERNEL_BYTES >= 16 * SIP_LEN_MAX && OWN_BYTES >= 16 * SIP_LEN_MAX);
const _: () = assert!(DATAGRAM_LEN_MAX >= SIP_LEN_MAX);
const _: () = assert!(TIMER_C_MS > 180_000);
const _: () = assert!(BRANCHES_MAX <= TARGETS_MAX && TARGETS_MAX < u8::MAX as usize);
const _: () = assert!(CONTACTS_MAX <= u8::MAX as usize);
const _: () = assert!(OWN_MAILS > SENDS_PER_INPUT);
const _: () = assert!(REPORTS > SLOTS_PER_TURN);
