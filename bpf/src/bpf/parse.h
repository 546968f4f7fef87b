/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef TRUNKLINE_PARSE_H
#define TRUNKLINE_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

/* RFC 791 §3.1: more fragments, and the offset. DF and the reserved bit do not matter. */
#define IP_MORE_OR_OFFSET 0x3fff

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

/* A whole IPv4 datagram to one of our addresses, its header without options. */
static __always_inline enum verdict judge_ours(const struct address *ours, const struct iphdr *ip,
					       const void *data_end)
{
	const struct udphdr *udp = (const void *)(ip + 1);
	__u16 payload_len = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	__u16 udp_len;

	if (ip->frag_off & bpf_htons(IP_MORE_OR_OFFSET))
		return VERDICT_PASS_FRAGMENT;
	if (ip->protocol == IPPROTO_ICMP)
		return VERDICT_PASS_ICMP;
	if (ip->protocol == IPPROTO_TCP)
		return VERDICT_PASS_TCP;
	if (ip->protocol != IPPROTO_UDP)
		return VERDICT_PASS_OTHER_PROTOCOL;

	if (payload_len < sizeof(*udp) || (const void *)(udp + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	udp_len = bpf_ntohs(udp->len);
	if (udp_len < sizeof(*udp) || udp_len > payload_len)
		return VERDICT_PASS_MALFORMED;

	return judge_port(ours, bpf_ntohs(udp->dest));
}

/* `frame_len` is the frame's length from the IPv4 header on, padding included. */
static __always_inline enum verdict judge_ipv4(const struct iphdr *ip, const void *data_end,
					       __u32 frame_len)
{
	const struct address *ours;
	__u16 total_len;
	__u32 key;

	if ((const void *)(ip + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	total_len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ip->ihl < 5 || total_len < ip->ihl * 4)
		return VERDICT_PASS_MALFORMED;
	/* Ethernet pads short frames, so only a total length beyond the frame is a lie. */
	if (total_len > frame_len)
		return VERDICT_PASS_MALFORMED;

	key = ip->daddr;
	ours = bpf_map_lookup_elem(&addresses, &key);
	if (!ours)
		return VERDICT_PASS_OTHER_ADDRESS;
	if (ip->ihl != 5)
		return VERDICT_PASS_IP_OPTIONS;
	return judge_ours(ours, ip, data_end);
}

/*
 * What a frame is. The destination MAC is not looked at: the NIC's filter has
 * done that. A VERDICT_REDIRECT is still without regard to whether a worker is there.
 *
 * The length comes from the helper (Linux 5.18): to add a length from the packet
 * to a packet pointer, or to subtract two, would take CAP_PERFMON.
 */
static __always_inline enum verdict judge(struct xdp_md *ctx)
{
	const void *data_end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = (const void *)(long)ctx->data;

	if ((const void *)(eth + 1) > data_end)
		return VERDICT_PASS_TRUNCATED;
	switch (eth->h_proto) {
	case bpf_htons(ETH_P_IP):
		return judge_ipv4((const void *)(eth + 1), data_end,
				  bpf_xdp_get_buff_len(ctx) - sizeof(*eth));
	case bpf_htons(ETH_P_ARP):
		return VERDICT_PASS_ARP;
	case bpf_htons(ETH_P_IPV6):
		return VERDICT_PASS_IPV6;
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return VERDICT_PASS_VLAN;
	default:
		return VERDICT_PASS_OTHER_ETHERTYPE;
	}
}

#endif
