// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A one-way flood, run over live frames by BPF_PROG_TEST_RUN. The kernel gives the same
 * frame again and again; this makes each another one and sends it when it is due, by the
 * clock. A frame that is not due goes back to the kernel, so that one long run is paced.
 */
#include "frame.h"

#define PLACES_MAX 8
#define PAYLOAD_MAX 1400

/* How a number is written at a place of the payload. */
enum kind {
	/* The frame's number, as eight hexadecimal digits. */
	HEX_NUMBER = 0,
	/* How many frames its flow has had before, 16 bits: an RTP sequence number. */
	WORD_SEQUENCE = 1,
	/* The same times 160, 32 bits: an RTP timestamp of G.711 every 20 ms. */
	LONG_TIMESTAMP = 2,
	/* Its flow, 32 bits: an SSRC. */
	LONG_FLOW = 3,
};

struct place {
	__u32 at;
	__u32 kind;
};

struct plan {
	/* Nanoseconds between two frames, times 2^16. */
	__u64 interval;
	/* No more frames than this. */
	__u64 most;
	__u32 ifindex;
	/* Flows that take turns, each from a port of its own, two apart. */
	__u32 flows;
	__u32 first_source;
	__u32 first_destination;
	__u32 places;
	struct place place[PLACES_MAX];
	struct headers headers;
};

struct state {
	/* When the next frame is due, times 2^16; 0 before the first. */
	__u64 due;
	__u64 sent;
	/* Frames that were sent more than a millisecond after they were due. */
	__u64 late;
	/* When the first and the last frame were sent. */
	__u64 first;
	__u64 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

static __always_inline void write_hex(__u8 *at, __u32 number)
{
#pragma unroll
	for (int i = 0; i < 8; i++) {
		__u8 digit = number >> (28 - 4 * i) & 15;

		at[i] = digit < 10 ? '0' + digit : 'a' + digit - 10;
	}
}

static __always_inline void write_long(__u8 *at, __u32 number)
{
	at[0] = number >> 24;
	at[1] = number >> 16;
	at[2] = number >> 8;
	at[3] = number;
}

SEC("xdp")
int perf_flood(struct xdp_md *ctx)
{
	struct headers *headers = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u8 *payload = (void *)(headers + 1);
	__u32 zero = 0;
	struct plan *plan = bpf_map_lookup_elem(&plans, &zero);
	struct state *state = bpf_map_lookup_elem(&states, &zero);
	__u64 now = bpf_ktime_get_ns();
	__u32 number, flow, sequence;

	if (!plan || !state || (void *)(headers + 1) > end || !plan->flows)
		return XDP_ABORTED;
	if (!state->due) {
		state->due = now << 16;
		state->first = now;
	}
	if (state->sent >= plan->most || now << 16 < state->due)
		return XDP_DROP;
	if ((now << 16) - state->due > 1000000ULL << 16)
		state->late++;
	number = state->sent++;
	state->due += plan->interval;
	state->last = now;
	flow = number % plan->flows;
	sequence = number / plan->flows;

	/* Whoever had the frame before may have written into it. */
	*headers = plan->headers;
	headers->udp.source = bpf_htons(plan->first_source + 2 * flow);
	headers->udp.dest = bpf_htons(plan->first_destination + 2 * flow);
	for (int i = 0; i < PLACES_MAX; i++) {
		__u32 at = plan->place[i].at;
		__u8 *room = payload + at;

		if (i >= plan->places)
			break;
		/* The longest number is eight bytes. */
		if (at > PAYLOAD_MAX || (void *)(room + 8) > end)
			return XDP_ABORTED;
		switch (plan->place[i].kind) {
		case HEX_NUMBER:
			write_hex(room, number);
			break;
		case WORD_SEQUENCE:
			room[0] = sequence >> 8;
			room[1] = sequence;
			break;
		case LONG_TIMESTAMP:
			write_long(room, sequence * 160);
			break;
		default:
			write_long(room, flow);
			break;
		}
	}
	return bpf_redirect(plan->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
