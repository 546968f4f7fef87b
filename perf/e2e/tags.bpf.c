// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * One or two VLAN tags around all that a link sends, and off all that it receives,
 * for a kernel without 802.1Q: `push` hangs at the link's egress and `pop` at its
 * ingress (tc, clsact). A frame without exactly these tags is dropped, so that what
 * passes was tagged right. TPID and OUTER are those of the outer tag; INNER is 0 for
 * one tag.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define TPID_8021Q 0x8100
#define be16(value) __builtin_bswap16(value)

/* By hand, so that the UAPI headers suffice to compile this. */
static long (*const vlan_push)(struct __sk_buff *skb, __be16 tpid, __u16 tci) =
	(void *)BPF_FUNC_skb_vlan_push;
static long (*const vlan_pop)(struct __sk_buff *skb) = (void *)BPF_FUNC_skb_vlan_pop;

static inline int take_off(struct __sk_buff *skb, __u16 tpid, __u16 tci)
{
	return skb->vlan_present && skb->vlan_proto == be16(tpid) && skb->vlan_tci == tci &&
	       vlan_pop(skb) == 0;
}

SECTION("push") int push_tags(struct __sk_buff *skb)
{
	if (INNER && vlan_push(skb, be16(TPID_8021Q), INNER))
		return TC_ACT_SHOT;
	if (vlan_push(skb, be16(TPID), OUTER))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

SECTION("pop") int pop_tags(struct __sk_buff *skb)
{
	if (!take_off(skb, TPID, OUTER))
		return TC_ACT_SHOT;
	if (INNER && !take_off(skb, TPID_8021Q, INNER))
		return TC_ACT_SHOT;
	return skb->vlan_present ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SECTION("license") = "Dual MIT/GPL";
