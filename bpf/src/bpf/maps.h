/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef TRUNKLINE_MAPS_H
#define TRUNKLINE_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "structs.h"
#include "verdicts.h"

/*
 * The worker's AF_XDP socket of each receive queue. The loader sets the size to
 * the queues that the interface can have. An entry goes when its socket dies.
 */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/*
 * Our addresses, by IPv4 address in network byte order. 256 is every listen and
 * media range that the daemon's 8-bit indices can name on one interface.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __be32);
	__type(value, struct address);
} addresses SEC(".maps");

/* One counter a verdict and one for all packets, on each CPU its own. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICT_SEEN + 1);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

#endif
