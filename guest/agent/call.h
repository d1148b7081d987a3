/* A call: an open request of the host, its flow control, and how it ends. */
#ifndef CAPSA_AGENT_CALL_H
#define CAPSA_AGENT_CALL_H

#include <limits.h>
#include <sys/types.h>

#include "agent/connection.h"
#include "common/frame.h"
#include "common/reader.h"

#define WINDOW_DEFAULT 262144
#define WINDOW_LIMIT 4194304
/* The largest payload of one frame. */
#define CHUNK 262144

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct call;

/* One per operation. A call is `size` bytes that begin with struct call, zeroed before `start`. Whatever a function
 * does with call__fail or call__finish is the last thing it does: the call is gone then. */
struct operation {
	const char *op;
	size_t size;
	void (*start)(struct call *call, const CborValue *request);
	void (*event)(struct call *call, struct span ev, const CborValue *message); /* NULL: takes none */
	bool passive; /* only looks, or waits for somebody to connect: no use of the sandbox, whose end is not put off
		       */
	bool (*produce)(struct call *call); /* queue a frame, or do a piece of the work; returns whether it did */
	void (*release)(struct call *call); /* undo what start did; NULL: nothing */
};

struct call {
	const struct operation *operation;
	struct connection *connection;
	struct call *next, *prev;
	uint64_t id;
	size_t window, unacknowledged; /* payload bytes, guest to host */
};

/* Payload bytes that may be sent now; 0 also while so little may that it is better to wait. */
size_t call__room(const struct call *call);

/* Read "window" of the request. Returns 0, or -errno after call__fail. */
__attribute__((warn_unused_result)) int call__take_window(struct call *call, const CborValue *request);
/* Read an absolute path of the request, terminated. Returns 0, or -errno after call__fail. */
__attribute__((warn_unused_result)) int call__take_path(struct call *call, const CborValue *request, const char *key,
							char path[PATH_MAX]);
/* Read a number up to `most`. Returns 1 (found), 0 (absent: *value untouched), or -errno after call__refuse. */
__attribute__((warn_unused_result)) int call__take_uint(struct call *call, const CborValue *request, const char *key,
							uint64_t most, uint64_t *value);
/* Read permission bits; returns as call__take_uint. */
__attribute__((warn_unused_result)) int call__take_mode(struct call *call, const CborValue *request, mode_t *mode);
/* Read an optional flag. Returns 0, or -errno after call__refuse. */
__attribute__((warn_unused_result)) int call__take_bool(struct call *call, const CborValue *request, const char *key,
							bool *value);

/* The error response, and the end of the call. `err` is an errno, of either sign. Each returns -errno. */
__attribute__((format(printf, 3, 4))) int call__fail(struct call *call, int err, const char *format, ...);
/* As call__fail, for a request that is not as the protocol says. */
int call__refuse(struct call *call, const char *field);
/* "PATH: what the system calls `err`". */
int call__fail_at(struct call *call, int err, const char *path);
/* The end that an "abort" of the host brings. */
void call__give_up(struct call *call, const char *path);

/* Begin the response { id, ok: true, … }, to be ended by call__finish; or the event { id, ev, … }, by call__tell. */
struct writer call__respond(const struct call *call);
struct writer call__begin_event(const struct call *call, const char *ev);
/* Queue the event. */
void call__tell(struct call *call, struct writer *out);
/* { id, ev: "entries", entries }: `count` of them, written already. Counts against the window. */
void call__tell_entries(struct call *call, uint64_t count, const uint8_t *entries, size_t length);
/* Queue the response; the end of the call. */
void call__finish(struct call *call, struct writer *out);
/* The whole of a response without fields, or with one number. */
void call__succeed(struct call *call);
void call__succeed_with(struct call *call, const char *field, uint64_t value);

/* The response; then, in place of frames, the connection carries the bytes of the stream socket `fd`, which is taken
 * over. The end of the call, and of all others of the connection. */
void call__become(struct call *call, int fd);

/* { id, credit }: the agent took that many payload bytes. */
void call__credit(struct call *call, size_t bytes);

/* Release and free, without a response. */
void call__drop(struct call *call);

/* No memory for what must be said: the connection cannot go on. */
void call__break(struct call *call);

/* The operations there are. One is a file that has operation__NAME, and a word here. */
/* clang-format off */
#define OPERATIONS(each) \
	each(hello) each(ping) each(info) each(shutdown) each(exec) each(attach) each(processes) each(read_file) \
	each(write_file) each(exists) each(list_dir) each(stat) each(chmod) each(chown) each(mkdir) each(rename) \
	each(symlink) each(read_link) each(remove) each(copy) each(read_tree) each(list_tree) each(write_tree) \
	each(disk_usage) each(watch) each(connect) each(listen) each(accept)
/* clang-format on */

#define OPERATION_DECLARED(name) extern const struct operation operation__##name;
OPERATIONS(OPERATION_DECLARED)

#endif
