// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Redirects to the worker's AF_XDP socket what the configuration names (SIP
 * listens and media ranges, IPv4 over UDP) and leaves everything else to the
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

SEC("xdp")
int trunkline_xdp(struct xdp_md *ctx)
{
	enum verdict verdict;
	int action = XDP_PASS;

	count(VERDICT_SEEN);
	verdict = judge(ctx);

	/*
	 * bpf_redirect_map returns the action in its flags when the queue has no
	 * socket. SIP without a worker goes to the kernel, where the daemon's own
	 * socket may still have it; media must not turn into ICMP port unreachable.
	 */
	if (verdict == VERDICT_REDIRECT_SIP) {
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = VERDICT_PASS_NO_WORKER_SIP;
	} else if (verdict == VERDICT_REDIRECT_MEDIA) {
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP);
		if (action != XDP_REDIRECT)
			verdict = VERDICT_DROP_NO_WORKER_MEDIA;
	}

	count(verdict);
	return action;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
