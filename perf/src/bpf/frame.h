/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* UDP over IPv4 without options and without VLAN tags: all that the lab's links carry. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

/* The headers of a frame that is UDP over plain IPv4, or none. */
static __always_inline struct headers *headers_of(struct xdp_md *ctx)
{
	struct headers *headers = (void *)(long)ctx->data;

	if ((void *)(headers + 1) > (void *)(long)ctx->data_end)
		return NULL;
	if (headers->eth.h_proto != bpf_htons(ETH_P_IP) || headers->ip.version != 4 ||
	    headers->ip.ihl != 5 || headers->ip.protocol != IPPROTO_UDP)
		return NULL;
	return headers;
}

static __always_inline void fill_ip_checksum(struct headers *headers)
{
	__u16 *word = (void *)headers + sizeof(headers->eth);
	__u32 sum = 0;

	headers->ip.check = 0;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	headers->ip.check = ~sum;
}
