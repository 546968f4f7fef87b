// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Redirects to the worker's AF_XDP socket what the configuration names (SIP
 * listens and media ranges, UDP over IPv4 and IPv6, under the VLAN tags of the
 * interface) and leaves everything else to the
 * kernel. Every frame adds one to `seen` and one to exactly one verdict.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "parse.h"
#include "verdicts.h"

/* A plain add: the map is per CPU and XDP does not interrupt itself there. */
static __always_inline void count(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &index);

	if (counter)
		*counter += 1;
}

/*
 * Gives the packet to the queue's socket, and says what became of it. The last
 * argument of bpf_redirect_map is what it returns when the queue has no socket. SIP
 * without a worker goes to the kernel, where the daemon's own socket may still have
 * it; media must not turn into ICMP port unreachable.
 */
static __always_inline enum verdict hand_over(struct xdp_md *ctx, enum verdict verdict)
{
	if (verdict == VERDICT_REDIRECT_SIP) {
		if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS) != XDP_REDIRECT)
			return VERDICT_PASS_NO_WORKER_SIP;
	} else if (verdict == VERDICT_REDIRECT_MEDIA) {
		if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP) != XDP_REDIRECT)
			return VERDICT_DROP_NO_WORKER_MEDIA;
	}
	return verdict;
}

SEC("xdp")
int trunkline_xdp(struct xdp_md *ctx)
{
	enum verdict verdict;

	count(VERDICT_SEEN);
	verdict = hand_over(ctx, judge(ctx));
	count(verdict);

	switch (verdict) {
	case VERDICT_REDIRECT_SIP:
	case VERDICT_REDIRECT_MEDIA:
		return XDP_REDIRECT;
	case VERDICT_DROP_NO_WORKER_MEDIA:
		return XDP_DROP;
	default:
		return XDP_PASS;
	}
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
