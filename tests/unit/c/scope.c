/* What systemd is asked for: each byte of the one call, as a server of D-Bus reads it; and by a systemd, if there is
 * one. */
#include "vmm/keeper/linux/scope.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"

static const struct cgroup_limits limits = {.memory = 1ULL << 40, .swap = 5, .processes = 256};
static char path[64];

static int listen_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(path, sizeof(path), "/tmp/capsa-scope-%d", (int)getpid());
	unlink(path);
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0);
	return fd;
}

/* ---- a reader of D-Bus, little endian ---- */

struct reader {
	const uint8_t *from;
	size_t len, at;
};

static void align(struct reader *reader, size_t to)
{
	for (; reader->at % to; reader->at++)
		CHECK(reader->at < reader->len && reader->from[reader->at] == 0);
}

static uint64_t number(struct reader *reader, size_t size)
{
	uint64_t value = 0;
	align(reader, size);
	CHECK(reader->at + size <= reader->len);
	memcpy(&value, reader->from + reader->at, size);
	reader->at += size;
	return value;
}

static const char *string(struct reader *reader, size_t size)
{
	uint64_t len = number(reader, size);
	const char *text = (const char *)reader->from + reader->at;
	CHECK(reader->at + len + 1 <= reader->len && strlen(text) == len);
	reader->at += len + 1;
	return text;
}

static size_t array(struct reader *reader, size_t element)
{
	uint64_t len = number(reader, 4);
	align(reader, element);
	CHECK(reader->at + len <= reader->len);
	return reader->at + len;
}

static void field(struct reader *reader, unsigned code, const char *type, const char *text)
{
	align(reader, 8);
	CHECK_EQ(number(reader, 1), code);
	CHECK_STR(string(reader, 1), type);
	CHECK_STR(string(reader, *type == 'g' ? 1 : 4), text);
}

static void property(struct reader *reader, const char *name, const char *type)
{
	align(reader, 8);
	CHECK_STR(string(reader, 4), name);
	CHECK_STR(string(reader, 1), type);
}

static void it_is_one_call_of_dbus(void)
{
	uint8_t bytes[4096];
	char hello[64], id[16];
	const pid_t pids[] = {4321, 65537};
	int listener = listen_here();
	int fd = scope__ask(path, "capsa-9.scope", &limits, pids, 2);
	CHECK(fd >= 0);
	int server = accept(listener, NULL, NULL);
	ssize_t n = recv(server, bytes, sizeof(bytes), 0);
	size_t len = 1 + (size_t)snprintf(hello + 1, sizeof(hello) - 1, "AUTH EXTERNAL ");
	hello[0] = 0;
	snprintf(id, sizeof(id), "%u", (unsigned)getuid());
	for (const char *c = id; *c; c++)
		len += (size_t)snprintf(hello + len, sizeof(hello) - len, "3%c", *c);
	len += (size_t)snprintf(hello + len, sizeof(hello) - len, "\r\nBEGIN\r\n");
	CHECK(n > (ssize_t)len && memcmp(bytes, hello, len) == 0);

	struct reader call = {.from = bytes + len, .len = (size_t)n - len};
	CHECK(memcmp(call.from, "l\1\0\1", 4) == 0);
	call.at = 4;
	uint64_t body = number(&call, 4);
	CHECK_EQ(number(&call, 4), 1);
	size_t end = array(&call, 8);
	field(&call, 1, "o", "/org/freedesktop/systemd1");
	field(&call, 6, "s", "org.freedesktop.systemd1");
	field(&call, 2, "s", "org.freedesktop.systemd1.Manager");
	field(&call, 3, "s", "StartTransientUnit");
	field(&call, 8, "g", "ssa(sv)a(sa(sv))");
	CHECK_EQ(call.at, end);
	align(&call, 8);
	CHECK_EQ(call.len - call.at, body);

	struct reader said = {.from = call.from + call.at, .len = body};
	CHECK_STR(string(&said, 4), "capsa-9.scope");
	CHECK_STR(string(&said, 4), "fail");
	end = array(&said, 8);
	property(&said, "Description", "s");
	CHECK(*string(&said, 4));
	property(&said, "PIDs", "au");
	size_t list = array(&said, 4);
	CHECK_EQ(number(&said, 4), 4321);
	CHECK_EQ(number(&said, 4), 65537);
	CHECK_EQ(said.at, list);
	property(&said, "MemoryMax", "t");
	CHECK_EQ(number(&said, 8), 1ULL << 40);
	property(&said, "MemorySwapMax", "t");
	CHECK_EQ(number(&said, 8), 5);
	property(&said, "TasksMax", "t");
	CHECK_EQ(number(&said, 8), 256);
	property(&said, "CollectMode", "s");
	CHECK_STR(string(&said, 4), "inactive-or-failed");
	CHECK_EQ(said.at, end);
	end = array(&said, 8);
	CHECK_EQ(said.at, end);
	CHECK_EQ(said.at, said.len);
	close(fd);
	close(server);
	close(listener);
	unlink(path);
}

static void without_a_systemd_it_says_so(void)
{
	const pid_t pid = 4321;
	CHECK_EQ(scope__ask("/nonexistent/private", "capsa-9.scope", &limits, &pid, 1), -ENOENT);
}

/* In XDG_RUNTIME_DIR, which a systemd of the user's sets. */
static void a_systemd_makes_it_and_takes_it_away(void)
{
	struct cgroup_home home;
	struct cgroup group;
	char name[64], at[128], proc[2] = "", told[4096];
	const char *directory = getenv("XDG_RUNTIME_DIR");
	const struct cgroup_limits small = {.memory = 64 << 20, .swap = 0, .processes = 16};
	if (cgroup__home(&home) < 0 || !directory)
		SKIP("no systemd of the user's here");
	snprintf(at, sizeof(at), "%s/systemd/private", directory);
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	snprintf(name, sizeof(name), "capsa-%d.scope", (int)getpid());
	int fd = scope__ask(at, name, &small, &pid, 1), err = -EAGAIN;
	if (fd < 0) {
		kill(pid, SIGKILL);
		SKIP("no systemd of the user's here");
	}
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	while (err == -EAGAIN && poll(&pfd, 1, 5000) == 1 && read(fd, told, sizeof(told)) > 0)
		err = cgroup__adopt(&group, &home, name, &pid, 1);
	kill(pid, SIGKILL);
	CHECK_EQ(err, 0);
	CHECK(group.events >= 0);
	CHECK(read(group.events, proc, 1) == 1);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 50 && access(group.path, F_OK) == 0; i++)
		usleep(100000);
	CHECK(access(group.path, F_OK) < 0);
	close(fd);
}

int main(void)
{
	CASE(it_is_one_call_of_dbus);
	CASE(without_a_systemd_it_says_so);
	CASE(a_systemd_makes_it_and_takes_it_away);
	return check__done();
}
