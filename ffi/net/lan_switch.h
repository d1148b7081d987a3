/* The switch of one member of a private network: what its guest may send to whom, and what may come from whom. */
#ifndef CAPSA_NET_LAN_SWITCH_H
#define CAPSA_NET_LAN_SWITCH_H

#include "common/loop.h"
#include "net/lan.h"

struct lan_switch_options {
	struct lan_member self;
	struct address name_server[2];
	uint8_t token[LAN_TOKEN]; /* that who joins must know */
	struct names *names;      /* gets the members' names; outlives the switch */
	/* A frame for the guest; and that these were all for now. */
	void (*receive)(void *arg, const uint8_t *frame, size_t len);
	void (*flush)(void *arg);
	void *arg;
};

struct lan_switch;

/* 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int lan_switch__new(const struct lan_switch_options *options,
							struct lan_switch **out);
void lan_switch__free(struct lan_switch *lan);

/*
 * A connection to another member, a non-blocking SOCK_SEQPACKET socket, taken over: closed when it ends, says something
 * else than a member may, or cannot be had. Without `member` the other side says in a hello who it is. 0; -ENOSPC when
 * all ports are taken, -EINVAL when the guest itself has what it says is the member's, or -errno.
 */
__attribute__((warn_unused_result)) int lan_switch__add(struct lan_switch *lan, int fd,
							const struct lan_member *member);

/* Take what comes, on that loop, from now on; or no more. */
void lan_switch__watch(struct lan_switch *lan, struct loop *loop);
void lan_switch__unwatch(struct lan_switch *lan);

/* A frame of the guest, which does not change meanwhile: sent to the member it is for, answered, or dropped. Not before
 * lan_switch__wait has said 0: milliseconds until then. */
void lan_switch__from_guest(struct lan_switch *lan, const uint8_t *frame, size_t len);
uint64_t lan_switch__wait(struct lan_switch *lan);

#endif
