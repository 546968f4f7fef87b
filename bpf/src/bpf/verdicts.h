/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef TRUNKLINE_VERDICTS_H
#define TRUNKLINE_VERDICTS_H

/*
 * What became of a packet: the index of its counter. src/verdict.rs has the
 * same list in the same order with help texts; a test compares the two.
 * Values are consecutive from 0, so none is written down here.
 */
enum verdict {
	VERDICT_PASS_ARP,
	VERDICT_PASS_VLAN,
	VERDICT_PASS_OTHER_ETHERTYPE,
	VERDICT_PASS_TRUNCATED,
	VERDICT_PASS_MALFORMED,
	VERDICT_PASS_OTHER_ADDRESS,
	VERDICT_PASS_IP_OPTIONS,
	VERDICT_PASS_IPV6_EXTENSION,
	VERDICT_PASS_FRAGMENT,
	VERDICT_PASS_ICMP,
	VERDICT_PASS_TCP,
	VERDICT_PASS_OTHER_PROTOCOL,
	VERDICT_PASS_OTHER_PORT,
	VERDICT_PASS_NO_WORKER_SIP,
	VERDICT_DROP_NO_WORKER_MEDIA,
	VERDICT_REDIRECT_SIP,
	VERDICT_REDIRECT_MEDIA,
	/* Not a verdict: every packet, counted before it is looked at. */
	VERDICT_SEEN,
};

#endif
