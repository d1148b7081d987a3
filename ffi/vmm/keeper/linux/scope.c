/* Cgroups of systemd's making. One call of D-Bus: https://dbus.freedesktop.org/doc/dbus-specification.html, and
 * StartTransientUnit of org.freedesktop.systemd1(5). */
#include "vmm/keeper/linux/scope.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/socket.h"

/* What is too long for it becomes no message. */
struct message {
	uint8_t bytes[1024];
	size_t len;
	bool full;
};

static void add(struct message *message, const void *bytes, size_t len)
{
	if (len > sizeof(message->bytes) - message->len) {
		message->full = true;
		return;
	}
	memcpy(message->bytes + message->len, bytes, len);
	message->len += len;
}

static void align(struct message *message, size_t to)
{
	static const uint8_t zeros[8];
	add(message, zeros, (to - message->len % to) % to);
}

static void add_u32(struct message *message, uint32_t number)
{
	align(message, 4);
	add(message, &number, sizeof(number));
}

static void add_u64(struct message *message, uint64_t number)
{
	align(message, 8);
	add(message, &number, sizeof(number));
}

static void add_string(struct message *message, const char *text)
{
	add_u32(message, (uint32_t)strlen(text));
	add(message, text, strlen(text) + 1);
}

static void add_signature(struct message *message, const char *text)
{
	uint8_t len = (uint8_t)strlen(text);
	add(message, &len, 1);
	add(message, text, (size_t)len + 1);
}

/* An array's length is known once it is whole: where that is to stand. Its elements are aligned to `element`. */
struct array {
	size_t length_at, begin;
};

static struct array begin_array(struct message *message, size_t element)
{
	struct array array;
	add_u32(message, 0);
	array.length_at = message->len - 4;
	align(message, element);
	array.begin = message->len;
	return array;
}

static void end_array(struct message *message, struct array array)
{
	uint32_t len = (uint32_t)(message->len - array.begin);
	if (!message->full)
		memcpy(message->bytes + array.length_at, &len, sizeof(len));
}

static void add_field(struct message *message, uint8_t code, const char *type, const char *text)
{
	align(message, 8);
	add(message, &code, 1);
	add_signature(message, type);
	if (*type == 'g')
		add_signature(message, text);
	else
		add_string(message, text);
}

static void begin_property(struct message *message, const char *name, const char *type)
{
	align(message, 8);
	add_string(message, name);
	add_signature(message, type);
}

static void add_body(struct message *message, const char *name, const struct cgroup_limits *limits, const pid_t *pids,
		     unsigned count)
{
	add_string(message, name);
	add_string(message, "fail");
	struct array properties = begin_array(message, 8);
	begin_property(message, "Description", "s");
	add_string(message, "capsa: the monitor of a sandbox");
	begin_property(message, "PIDs", "au");
	struct array list = begin_array(message, 4);
	for (unsigned i = 0; i < count; i++)
		add_u32(message, (uint32_t)pids[i]);
	end_array(message, list);
	begin_property(message, "MemoryMax", "t");
	add_u64(message, limits->memory);
	begin_property(message, "MemorySwapMax", "t");
	add_u64(message, limits->swap);
	begin_property(message, "TasksMax", "t");
	add_u64(message, limits->processes);
	begin_property(message, "CollectMode", "s");
	add_string(message, "inactive-or-failed");
	end_array(message, properties);
	end_array(message, begin_array(message, 8)); /* other units with it: none */
}

static void add_call(struct message *message, const struct message *body)
{
	const uint8_t start[] = {__BYTE_ORDER == __LITTLE_ENDIAN ? 'l' : 'B', 1 /* a call */, 0, 1 /* version */};
	add(message, start, sizeof(start));
	add_u32(message, (uint32_t)body->len);
	add_u32(message, 1); /* its number */
	struct array fields = begin_array(message, 8);
	add_field(message, 1, "o", "/org/freedesktop/systemd1");
	add_field(message, 6, "s", "org.freedesktop.systemd1");
	add_field(message, 2, "s", "org.freedesktop.systemd1.Manager");
	add_field(message, 3, "s", "StartTransientUnit");
	add_field(message, 8, "g", "ssa(sv)a(sa(sv))");
	end_array(message, fields);
	align(message, 8);
	add(message, body->bytes, body->len);
	message->full = message->full || body->full;
}

/* A NUL byte, then lines: who we are, in hexadecimal digits of the decimal ones, which the kernel confirms. */
static size_t introduce(char *text, size_t size)
{
	char id[16];
	snprintf(id, sizeof(id), "%u", (unsigned)geteuid());
	size_t len = 1 + (size_t)snprintf(text + 1, size - 1, "AUTH EXTERNAL ");
	text[0] = 0;
	for (const char *c = id; *c; c++)
		len += (size_t)snprintf(text + len, size - len, "%02x", (unsigned)*c);
	return len + (size_t)snprintf(text + len, size - len, "\r\nBEGIN\r\n");
}

static int reach(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uid_t peer = (uid_t)-1;
	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	int fd = socket__new(AF_UNIX, SOCK_STREAM, 0, false);
	if (fd < 0)
		return fd;
	int err = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : socket__peer(fd, &peer);
	if (!err && peer != geteuid())
		err = -EPERM;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int scope__ask(const char *socket, const char *name, const struct cgroup_limits *limits, const pid_t *pids,
	       unsigned count)
{
	char own[64], hello[64];
	struct message body = {.len = 0}, call = {.len = 0};
	snprintf(own, sizeof(own), "/run/user/%u/systemd/private", (unsigned)geteuid());
	add_body(&body, name, limits, pids, count);
	add_call(&call, &body);
	if (call.full)
		return -EMSGSIZE;
	int fd = reach(socket ? socket : own);
	if (fd < 0)
		return fd;
	size_t len = introduce(hello, sizeof(hello));
	if (send(fd, hello, len, MSG_NOSIGNAL) == (ssize_t)len &&
	    send(fd, call.bytes, call.len, MSG_NOSIGNAL) == (ssize_t)call.len)
		return fd;
	close(fd);
	return -EIO;
}
