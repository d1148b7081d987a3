/* What the parts of the vsock device share: the packet header, the device, and one stream with its life.
 *
 *   vsock.c         the device, and packets from the guest
 *   vsock_rx.c      packets to the guest
 *   vsock_stream.c  a stream: its host socket, what waits for it, how it ends
 *   vsock_listen.c  listening sockets
 */
#ifndef CAPSA_VIRTIO_VSOCK_STREAM_H
#define CAPSA_VIRTIO_VSOCK_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "ring.h"
#include "virtio/vsock.h"

#define VSOCK_MAX_STREAMS 4096
#define VSOCK_WINDOW (256U << 10)   /* bytes a guest may have under way in one stream: our buf_alloc */
#define VSOCK_SPILL_MAX (64U << 20) /* bytes of memory for what host sockets have not taken, all streams together */
#define VSOCK_MAX_RESETS 4096       /* resets that wait for room in the guest; past it they are dropped */
#define VSOCK_BUCKETS 1024

/* struct virtio_vsock_hdr, section 5.10.6. */
struct vsock_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* of the payload that follows, bytes */
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt; /* the sender's window, and what it has taken from it so far, bytes */
} __attribute__((packed));

enum { VSOCK_TYPE_STREAM = 1 };

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of VSOCK_OP_SHUTDOWN: what its sender will no longer do. */
enum { VSOCK_NO_RECEIVE = 1, VSOCK_NO_SEND = 2, VSOCK_NEITHER = 3 };

/* Queues, section 5.10.2. */
enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum vsock_state {
	VSOCK_CONNECTING, /* the guest was asked, or will be, and has not answered */
	VSOCK_OPEN,
	VSOCK_LINGERING, /* the guest has ended it and forgotten it; the host socket has not taken all yet */
};

/* Header-only packets that wait for room in the guest; sent in this order. */
enum {
	VSOCK_SEND_REQUEST = 1,
	VSOCK_SEND_RESPONSE = 2,
	VSOCK_SEND_SHUTDOWN = 4,
	VSOCK_SEND_CREDIT = 8,
};

struct vsock;

struct vsock_stream {
	struct vsock *vsock;
	enum vsock_state state;
	uint32_t guest_port, host_port; /* the key; unique among streams that do not linger */

	int fd; /* host socket; -1 once closed */
	bool in_loop;
	unsigned armed; /* loop_events asked for */

	/* to the guest */
	uint32_t peer_window, peer_taken; /* as its last header said */
	uint32_t sent;                    /* bytes, free-running */
	size_t burst;                     /* bytes to read from the socket at once; follows the traffic */
	bool waiting;                     /* in vsock.waiting */
	bool host_silent;                 /* end of file was read from the socket, or the guest will not receive */

	/* from the guest */
	struct ring spill;          /* what the socket has not taken; open only while it holds bytes */
	uint32_t taken, taken_told; /* bytes, free-running; and as last told to the guest */
	bool host_deaf;             /* the socket's peer takes nothing more */
	bool shut_write;            /* shutdown(SHUT_WR) is done */

	unsigned guest_shut; /* VSOCK_NO_… the guest has said */
	unsigned our_shut;   /* VSOCK_NO_… we have said, or will with VSOCK_SEND_SHUTDOWN */
	unsigned send;       /* VSOCK_SEND_… */

	TAILQ_ENTRY(vsock_stream) all, control, wait;
	LIST_ENTRY(vsock_stream) bucket;
};

TAILQ_HEAD(vsock_streams, vsock_stream);
LIST_HEAD(vsock_bucket, vsock_stream);

struct vsock_reset {
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct vsock_listener {
	struct vsock *vsock;
	uint32_t port;
	int fd;
	LIST_ENTRY(vsock_listener) next;
};

struct vsock {
	struct virtio_device dev;
	uint64_t guest_cid;
	int dir_fd;
	const struct vsock_ports_ops *ports;
	void *ports_owner;
	bool active;
	uint64_t next_turn; /* timer that goes on with the guest's packets; 0: none */
	uint64_t bad;       /* packets that were no packet, or not for us */

	LIST_HEAD(, vsock_listener) listeners;
	uint64_t accept_timer; /* descriptors ran out: listeners are parked until it fires; 0: none */
	uint32_t next_port;    /* for host ports of streams to the guest */

	unsigned stream_count;
	size_t spill_bytes;
	uint64_t seed; /* of the table, so that a guest cannot fill one bucket */
	struct vsock_bucket table[VSOCK_BUCKETS];
	struct vsock_streams streams; /* all */
	struct vsock_streams control; /* those with something in `send` */
	struct vsock_streams waiting; /* those to be read again when the guest has room, oldest first */

	struct vsock_reset resets[VSOCK_MAX_RESETS]; /* ring */
	unsigned resets_start, resets_len;
};

/* vsock_stream.c: a stream that a call may free is not to be touched after it. */

/* Takes fd over, also on failure (-EMFILE when there are too many streams, -ENOMEM). */
__attribute__((warn_unused_result)) int vsock_stream__new(struct vsock *v, uint32_t guest_port, uint32_t host_port,
							  int fd, enum vsock_state state, struct vsock_stream **out);
struct vsock_stream *vsock_stream__find(const struct vsock *v, uint32_t guest_port, uint32_t host_port);
/* End it now, saying nothing to the guest. */
void vsock_stream__free(struct vsock_stream *s);
/* End it now, with a reset to the guest. */
void vsock_stream__reset(struct vsock_stream *s);
/* Bytes from the guest; may free the stream. */
void vsock_stream__deliver(struct vsock_stream *s, struct iovec *iov, unsigned count, size_t len);
/* The guest has said flags VSOCK_NO_…; may free the stream. */
void vsock_stream__guest_shutdown(struct vsock_stream *s, unsigned flags);
/* The guest has forgotten the stream: what it sent before is still delivered. May free the stream. */
void vsock_stream__guest_gone(struct vsock_stream *s);
/* Nothing more is to be read from the host socket: its end of file, or an error. May free the stream. */
void vsock_stream__host_silent(struct vsock_stream *s);
/* Ask the loop for the events that can be acted upon now. */
void vsock_stream__arm(struct vsock_stream *s);
/* Bytes that the guest has room for. */
uint32_t vsock_stream__credit(const struct vsock_stream *s);

/* vsock_rx.c */

/* Have header-only packets (VSOCK_SEND_…) sent with the next vsock_rx__pump. */
void vsock_rx__send(struct vsock_stream *s, unsigned what);
void vsock_rx__send_reset(struct vsock *v, uint32_t guest_port, uint32_t host_port, uint16_t type);
/* Have the host socket read with the next vsock_rx__pump that finds room. */
void vsock_rx__wait(struct vsock_stream *s);
/* Move bytes from the host socket into the guest's buffers; may free the stream. */
void vsock_rx__read(struct vsock_stream *s);
/* Send all that waits, as far as the guest has room, and notify it. May free any stream. */
void vsock_rx__pump(struct vsock *v);

/* vsock_listen.c */

void vsock__close_listeners(struct vsock *v);

#endif
