// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The barest forwarder that XDP can be: what comes to our address on one interface
 * leaves by the other, with the addresses of that side. Ports and payload stay. The UDP
 * checksum is left out, as IPv4 allows.
 */
#include "frame.h"

/* From an interface on: the other interface, its stations and its addresses. */
struct way {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__be32 ours;
	__be32 saddr;
	__be32 daddr;
	__u32 ifindex;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

SEC("xdp")
int perf_forward(struct xdp_md *ctx)
{
	struct headers *headers = headers_of(ctx);
	__u32 ingress = ctx->ingress_ifindex;
	struct way *way = bpf_map_lookup_elem(&ways, &ingress);

	if (!headers || !way || headers->ip.daddr != way->ours)
		return XDP_PASS;
	__builtin_memcpy(headers->eth.h_dest, way->destination, ETH_ALEN);
	__builtin_memcpy(headers->eth.h_source, way->source, ETH_ALEN);
	headers->ip.saddr = way->saddr;
	headers->ip.daddr = way->daddr;
	fill_ip_checksum(headers);
	headers->udp.check = 0;
	return bpf_redirect(way->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
