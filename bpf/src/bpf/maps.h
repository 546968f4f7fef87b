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
 * Our addresses, a map a family: the hash of the longer key would cost each IPv4
 * packet some nanoseconds. src/maps.rs has the same bound in ADDRESSES_MAX.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct ipv4_key);
	__type(value, struct address);
} addresses_ipv4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRESSES_MAX);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, struct ipv6_key);
	__type(value, struct address);
} addresses_ipv6 SEC(".maps");

/* The tag stacks under which there is an address of ours; a set, the value means nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STACKS_MAX);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, __u8);
} stacks SEC(".maps");

/* One counter a verdict and one for all packets, on each CPU its own. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICT_SEEN + 1);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

#endif
