/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef TRUNKLINE_STRUCTS_H
#define TRUNKLINE_STRUCTS_H

#include <linux/types.h>

/* src/maps.rs has the same bounds and writes the same bytes. */
#define SIP_PORTS_MAX 8
#define MEDIA_RANGES_MAX 4

/* Both ends belong to the range. Host byte order; {0, 0} is an unused slot. */
struct port_range {
	__u16 min;
	__u16 max;
};

/*
 * What is ours at one IPv4 address. Ports are in host byte order. Port 0 marks
 * an unused slot: the program refuses destination port 0 before it compares.
 */
struct address {
	__u16 sip_ports[SIP_PORTS_MAX];
	struct port_range media_ports[MEDIA_RANGES_MAX];
};

#endif
