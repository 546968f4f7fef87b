/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef TRUNKLINE_STRUCTS_H
#define TRUNKLINE_STRUCTS_H

#include <linux/types.h>

/* src/maps.rs has the same bounds and writes the same bytes. */
#define SIP_PORTS_MAX 8
#define MEDIA_RANGES_MAX 4
#define ADDRESSES_MAX 4096
#define STACKS_MAX 256

/* Both ends belong to the range. Host byte order; {0, 0} is an unused slot. */
struct port_range {
	__u16 min;
	__u16 max;
};

/*
 * A tag as the keys below have it: its VID (IEEE 802.1Q §9.6), and above it what
 * tells VID 0 from no tag and 802.1ad from 802.1Q. Priorities are not compared.
 */
#define TAG_VID 0x0fff
#define TAG_PRESENT 0x1000
#define TAG_8021AD 0x2000

/*
 * Where an address is ours: under which VLAN tags. The outer tag is in the upper
 * 16 bits of `stack`, the inner one in the lower, both in host byte order; 0 is no
 * tag, and a single tag is the outer one. Neither key has a hole for the compiler.
 */
struct ipv4_key {
	__be32 address;
	__u32 stack;
};

struct ipv6_key {
	__be32 address[4];
	__u32 stack;
};

/*
 * What is ours at one address. Ports are in host byte order. Port 0 marks
 * an unused slot: the program refuses destination port 0 before it compares.
 */
struct address {
	__u16 sip_ports[SIP_PORTS_MAX];
	struct port_range media_ports[MEDIA_RANGES_MAX];
};

#endif
