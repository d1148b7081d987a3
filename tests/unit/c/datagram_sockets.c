/* Sockets for the guest's datagrams, on this machine's loopback: what is sent, what comes back, and what is held open.
 */
#include "net/datagram_sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net_frames.h"

static struct {
	struct loop *loop;
	pthread_t thread;
	struct datagram_sockets *sockets;
	unsigned received, failed;
	_Atomic uint64_t wait;
	unsigned place;
	struct datagram datagram;
	struct datagram_error error;
	uint8_t bytes[256];
} world;

static uint64_t wait_for_guest(void *arg)
{
	(void)arg;
	return atomic_load(&world.wait);
}

static void on_received(void *arg, unsigned place, const struct datagram *datagram)
{
	(void)arg;
	world.received++;
	world.place = place;
	world.datagram = *datagram;
	memcpy(world.bytes, datagram->bytes, datagram->len);
}

static void on_failed(void *arg, unsigned place, const struct datagram_error *error)
{
	(void)arg;
	world.failed++;
	world.place = place;
	world.error = *error;
}

static void *run(void *arg)
{
	(void)arg;
	(void)!loop__run(world.loop);
	return NULL;
}

static void set_up(void)
{
	memset(&world, 0, sizeof(world));
	CHECK_EQ(loop__new(&world.loop), 0);
	const struct datagram_sockets_options options = {
		.loop = world.loop, .wait = wait_for_guest, .received = on_received, .failed = on_failed};
	CHECK_EQ(datagram_sockets__new(&options, &world.sockets), 0);
	loop__await(world.loop);
	CHECK_EQ(pthread_create(&world.thread, NULL, run, NULL), 0);
}

static void tear_down(void)
{
	loop__stop(world.loop);
	CHECK_EQ(pthread_join(world.thread, NULL), 0);
	datagram_sockets__free(world.sockets);
	loop__free(world.loop);
}

static void look(void *arg)
{
	*(unsigned *)arg = world.received + world.failed;
}

/* How many have come, of so many that are waited for, for so long. */
static unsigned wait_for(unsigned many, unsigned ms)
{
	unsigned come = 0;
	for (unsigned i = 0; i <= ms && come < many; i++) {
		usleep(1000);
		CHECK_EQ(loop__call(world.loop, look, &come), 0);
	}
	return come;
}

static unsigned descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");
	CHECK(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A socket of the test's own at the loopback of this family; *port becomes its port. */
static int listen_at(const char *address, uint16_t *port)
{
	struct sockaddr_storage name;
	const struct address own = at(address);
	socklen_t len = address__socket(&own, 0, &name);
	int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	if (bind(fd, (struct sockaddr *)&name, len) < 0)
		SKIP("this machine has no such loopback");
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	*port = ntohs(name.ss_family == AF_INET ? ((struct sockaddr_in *)&name)->sin_port
						: ((struct sockaddr_in6 *)&name)->sin6_port);
	return fd;
}

struct call {
	unsigned place;
	struct packet packet;
	int result;
};

static void do_send(void *arg)
{
	struct call *call = arg;
	call->result = datagram_sockets__send(world.sockets, call->place, &call->packet, &call->packet.destination);
}

static int send_frame(unsigned place, const uint8_t *frame, size_t len)
{
	struct call call = {.place = place};
	CHECK(packet__parse(frame, len, &call.packet) == NULL);
	CHECK_EQ(loop__call(world.loop, do_send, &call), 0);
	return call.result;
}

static int send_to(unsigned place, const char *to, uint16_t port, const char *text)
{
	static uint8_t frame[PACKET_MAX];
	const char *from = strchr(to, ':') ? GUEST6 : GUEST4;
	return send_frame(place, frame, frame__udp(frame, from, 5000, to, port, text, strlen(text)));
}

static void do_hang_up(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		datagram_sockets__hang_up(world.sockets, i);
}

static void speak_with(const char *address)
{
	uint16_t port;
	char text[16];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	set_up();
	int server = listen_at(address, &port);
	CHECK_EQ(send_to(3, address, port, "question"), 0);
	CHECK_EQ(recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 8);
	CHECK_EQ(sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
	CHECK_EQ(wait_for(1, 5000), 1);
	const struct address expected = at(address);
	CHECK_EQ(world.place, 3);
	CHECK(address__equal(&world.datagram.from, &expected) && world.datagram.port == port);
	CHECK(world.datagram.len == 6 && memcmp(world.bytes, "answer", 6) == 0);
	/* nobody is there any more */
	close(server);
	CHECK_EQ(send_to(3, address, port, "question"), 0);
	CHECK_EQ(wait_for(2, 5000), 2);
	CHECK_EQ(world.failed, 1);
	CHECK(address__equal(&world.error.about.from, &expected) && world.error.about.port == port);
	CHECK(address__equal(&world.error.by, &expected));
	CHECK(address__is4(&expected) ? world.error.type == 3 && world.error.code == 3
				      : world.error.type == 1 && world.error.code == 4);
	CHECK(world.error.about.len == 8);
	/* what one could not have is no word about the next */
	server = listen_at(address, &port);
	CHECK_EQ(send_to(3, address, 1, "question"), 0);
	CHECK_EQ(send_to(3, address, port, "question"), 0);
	CHECK_EQ(recv(server, text, sizeof(text), 0), 8);
	close(server);
	tear_down();
}

static void a_datagram_is_answered_or_its_error_is_told(void)
{
	speak_with("127.0.0.1");
}

static void the_same_by_ipv6(void)
{
	speak_with("::1");
}

static void a_place_has_one_socket_until_it_is_hung_up(void)
{
	uint16_t port;
	set_up();
	int server = listen_at("127.0.0.1", &port);
	unsigned before = descriptors();
	for (unsigned i = 0; i < 1000; i++)
		CHECK_EQ(send_to(i % DATAGRAMS, "127.0.0.1", port, ""), 0);
	CHECK_EQ(descriptors(), before + DATAGRAMS);
	CHECK_EQ(loop__call(world.loop, do_hang_up, NULL), 0);
	CHECK_EQ(descriptors(), before);
	CHECK_EQ(send_to(0, "127.0.0.1", port, ""), 0);
	tear_down();
	close(server);
}

static void what_the_guest_cannot_have_yet_waits(void)
{
	uint16_t port;
	char text[16];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	set_up();
	int server = listen_at("127.0.0.1", &port);
	CHECK_EQ(send_to(0, "127.0.0.1", port, "question"), 0);
	CHECK_EQ(recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 8);
	atomic_store(&world.wait, 50);
	CHECK_EQ(sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
	CHECK_EQ(wait_for(1, 20), 0);
	CHECK_EQ(send_to(1, "127.0.0.1", port, "question"), 0); /* one that is new waits as well */
	CHECK_EQ(recvfrom(server, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 8);
	CHECK_EQ(sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
	CHECK_EQ(wait_for(1, 20), 0);
	atomic_store(&world.wait, 0);
	CHECK_EQ(wait_for(2, 5000), 2);
	tear_down();
	close(server);
}

static void there_is_no_way_where_there_is_none(void)
{
	static uint8_t frame[PACKET_MAX];
	set_up();
	CHECK_EQ(send_to(0, "255.255.255.255", 9, ""), -EACCES);
	CHECK_EQ(send_frame(1, frame, frame__icmp(frame, GUEST6, "2001:db8::1", 128)), -EAFNOSUPPORT);
	tear_down();
}

/* In a network of the test's own, where its user may send them. */
static void an_echo_request_is_answered(void)
{
	static uint8_t frame[PACKET_MAX];
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int range = unshare(CLONE_NEWNET) < 0 ? -1 : open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC);
	if (range < 0 || write(range, "0 2147483647", 12) != 12)
		SKIP("this user may not make a network namespace");
	close(range);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	set_up();
	CHECK_EQ(send_frame(1, frame, frame__icmp(frame, GUEST4, "127.0.0.1", 8)), 0);
	CHECK_EQ(wait_for(1, 5000), 1);
	CHECK(world.received == 1 && world.datagram.len == 24 && world.bytes[0] == 0);
	tear_down();
}

int main(void)
{
	CASE(a_datagram_is_answered_or_its_error_is_told);
	CASE(the_same_by_ipv6);
	CASE(a_place_has_one_socket_until_it_is_hung_up);
	CASE(what_the_guest_cannot_have_yet_waits);
	CASE(there_is_no_way_where_there_is_none);
	CASE(an_echo_request_is_answered);
	return check__done();
}
