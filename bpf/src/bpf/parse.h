/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef TRUNKLINE_PARSE_H
#define TRUNKLINE_PARSE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

/* RFC 791 §3.1: more fragments, and the offset. DF and the reserved bit do not matter. */
#define IP_MORE_OR_OFFSET 0x3fff

/* What follows the EtherType of a tag (IEEE 802.1Q §9.6): priority, DEI and VID; the next EtherType. */
struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

/* Is the port one of ours at this address, and for what? SIP goes before media. */
static __always_inline enum verdict judge_port(const struct address *ours, __u16 port)
{
	/* Port 0 is nobody's (RFC 768), and would match the unused slots. */
	if (port == 0)
		return VERDICT_PASS_OTHER_PORT;

#pragma unroll
	for (int i = 0; i < SIP_PORTS_MAX; i++)
		if (ours->sip_ports[i] == port)
			return VERDICT_REDIRECT_SIP;

#pragma unroll
	for (int i = 0; i < MEDIA_RANGES_MAX; i++)
		if (ours->media_ports[i].min <= port && port <= ours->media_ports[i].max)
			return VERDICT_REDIRECT_MEDIA;

	return VERDICT_PASS_OTHER_PORT;
}

/* A UDP header at one of our addresses, in a datagram that leaves `payload_len` bytes to it. */
static __always_inline enum verdict judge_udp(const struct address *ours, const struct udphdr *udp,
					      const void *data_end, __u16 payload_len)
{
	__u16 udp_len;

	if (payload_len < sizeof(*udp) || (const void *)(udp + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	udp_len = bpf_ntohs(udp->len);
	if (udp_len < sizeof(*udp) || udp_len > payload_len)
		return VERDICT_PASS_MALFORMED;

	return judge_port(ours, bpf_ntohs(udp->dest));
}

/* `frame_len` is the frame's length from the IPv4 header on, padding included. */
static __always_inline enum verdict judge_ipv4(const struct iphdr *ip, const void *data_end,
					       __u32 frame_len, __u32 stack)
{
	struct ipv4_key key = { .stack = stack };
	const struct address *ours;
	__u16 total_len;

	if ((const void *)(ip + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	total_len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ip->ihl < 5 || total_len < ip->ihl * 4)
		return VERDICT_PASS_MALFORMED;
	/* Ethernet pads short frames, so only a total length beyond the frame is a lie. */
	if (total_len > frame_len)
		return VERDICT_PASS_MALFORMED;

	key.address = ip->daddr;
	ours = bpf_map_lookup_elem(&addresses_ipv4, &key);
	if (!ours)
		return VERDICT_PASS_OTHER_ADDRESS;
	if (ip->ihl != 5)
		return VERDICT_PASS_IP_OPTIONS;
	if (ip->frag_off & bpf_htons(IP_MORE_OR_OFFSET))
		return VERDICT_PASS_FRAGMENT;

	switch (ip->protocol) {
	case IPPROTO_UDP:
		return judge_udp(ours, (const void *)(ip + 1), data_end, total_len - sizeof(*ip));
	case IPPROTO_TCP:
		return VERDICT_PASS_TCP;
	case IPPROTO_ICMP:
		return VERDICT_PASS_ICMP;
	default:
		return VERDICT_PASS_OTHER_PROTOCOL;
	}
}

/*
 * `frame_len` is the frame's length from the IPv6 header on, padding included.
 * Extension headers are the kernel's business: none is walked over.
 */
static __always_inline enum verdict judge_ipv6(const struct ipv6hdr *ip, const void *data_end,
					       __u32 frame_len, __u32 stack)
{
	struct ipv6_key key = { .stack = stack };
	const struct address *ours;
	__u16 payload_len;

	if ((const void *)(ip + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	payload_len = bpf_ntohs(ip->payload_len);
	/* RFC 2675 §3: 0 announces a jumbogram, which is longer than any frame. */
	if (ip->version != 6 || payload_len == 0 || sizeof(*ip) + payload_len > frame_len)
		return VERDICT_PASS_MALFORMED;

	__builtin_memcpy(key.address, &ip->daddr, sizeof(key.address));
	ours = bpf_map_lookup_elem(&addresses_ipv6, &key);
	if (!ours)
		return VERDICT_PASS_OTHER_ADDRESS;

	switch (ip->nexthdr) {
	case IPPROTO_UDP:
		return judge_udp(ours, (const void *)(ip + 1), data_end, payload_len);
	case IPPROTO_TCP:
		return VERDICT_PASS_TCP;
	case IPPROTO_ICMPV6:
		return VERDICT_PASS_ICMP;
	case IPPROTO_FRAGMENT:
		return VERDICT_PASS_FRAGMENT;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return VERDICT_PASS_IPV6_EXTENSION;
	default:
		return VERDICT_PASS_OTHER_PROTOCOL;
	}
}

/* What is in the frame after its tags; `frame_len` counts from there. */
static __always_inline enum verdict judge_packet(const void *packet, __be16 ethertype,
						 const void *data_end, __u32 frame_len, __u32 stack)
{
	switch (ethertype) {
	case bpf_htons(ETH_P_IP):
		return judge_ipv4(packet, data_end, frame_len, stack);
	case bpf_htons(ETH_P_IPV6):
		return judge_ipv6(packet, data_end, frame_len, stack);
	case bpf_htons(ETH_P_ARP):
		return VERDICT_PASS_ARP;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		/* A tag more than an interface can have. */
		return VERDICT_PASS_VLAN;
	default:
		return VERDICT_PASS_OTHER_ETHERTYPE;
	}
}

static __always_inline bool is_tag(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/*
 * One tag, or two of which the inner one is 802.1Q. A priority tag (VID 0) is a
 * tag like any other, and no interface can have it: the kernel takes it off.
 *
 * Not inlined, so that the way of an untagged frame stays short.
 */
static __noinline int judge_tagged(struct xdp_md *ctx)
{
	__u32 len = bpf_xdp_get_buff_len(ctx) - sizeof(struct ethhdr) - sizeof(struct vlan_tag);
	const void *data_end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = (const void *)(long)ctx->data;
	const struct vlan_tag *outer = (const void *)(eth + 1);
	const struct vlan_tag *inner = outer + 1;
	enum verdict verdict;
	__u32 stack;

	if ((const void *)(outer + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	stack = TAG_PRESENT | (bpf_ntohs(outer->tci) & TAG_VID);
	if (eth->h_proto == bpf_htons(ETH_P_8021AD))
		stack |= TAG_8021AD;
	stack <<= 16;

	if (outer->ethertype != bpf_htons(ETH_P_8021Q)) {
		verdict = judge_packet(outer + 1, outer->ethertype, data_end, len, stack);
	} else {
		if ((const void *)(inner + 1) > data_end)
			return VERDICT_PASS_TRUNCATED;
		stack |= TAG_PRESENT | (bpf_ntohs(inner->tci) & TAG_VID);
		verdict = judge_packet(inner + 1, inner->ethertype, data_end, len - sizeof(*inner),
				       stack);
	}

	/* What is ours is under our tags. Only of the rest it has to be asked whose VLAN it is. */
	if (verdict != VERDICT_REDIRECT_SIP && verdict != VERDICT_REDIRECT_MEDIA &&
	    !bpf_map_lookup_elem(&stacks, &stack))
		return VERDICT_PASS_VLAN;
	return verdict;
}

/*
 * What a frame is. The destination MAC is not looked at: the NIC's filter has
 * done that. A VERDICT_REDIRECT is still without regard to whether a worker is there.
 *
 * The length comes from the helper (Linux 5.18): to add a length from the packet
 * to a packet pointer, or to subtract two, would take CAP_PERFMON. It is asked for
 * first because what is in a register at a call may have to go to the stack, and
 * without CAP_PERFMON the verifier puts a barrier at each store there.
 */
static __always_inline enum verdict judge(struct xdp_md *ctx)
{
	__u32 len = bpf_xdp_get_buff_len(ctx) - sizeof(struct ethhdr);
	const void *data_end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = (const void *)(long)ctx->data;

	if ((const void *)(eth + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	if (is_tag(eth->h_proto))
		return judge_tagged(ctx);
	return judge_packet(eth + 1, eth->h_proto, data_end, len, 0);
}

#endif
