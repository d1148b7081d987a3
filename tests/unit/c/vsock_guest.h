/* The guest's side of virtio-vsock, for tests: sends packets, keeps receive buffers offered, and takes what arrives. */
#ifndef CAPSA_TESTS_VSOCK_GUEST_H
#define CAPSA_TESTS_VSOCK_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "driver.h"
#include "virtio/vsock/ports.h"
#include "virtio/vsock/stream.h"

#define GUEST_CID 3
#define GUEST_RX_BUF 4096 /* as Linux offers: header and payload in one buffer */
#define GUEST_WINDOW (256U << 10)
#define GUEST_RX_SIZE 64
#define GUEST_TX_SIZE 64
#define GUEST_TX_BUF (64U << 10)

static struct driver guest_mem;
static struct driver_queue guest_rx, guest_tx, guest_event;
static struct driver_device guest_dd;
static char guest_dir[64];
static int guest_dir_fd;                     /* the device's */
static uint64_t guest_rx_gpa[GUEST_RX_SIZE]; /* buffer of each head */
static uint64_t guest_tx_gpa;
static uint32_t guest_taken; /* fwd_cnt of the stream under test */
static bool guest_offers;    /* buffers are given back as packets are taken */

CHECK__UNUSED static void guest__offer(void)
{
	uint64_t gpa = driver__alloc(&guest_mem, GUEST_RX_BUF);
	struct driver_buf buf = {gpa, GUEST_RX_BUF};
	int head = driver_queue__add(&guest_rx, &buf, 0, 1);
	CHECK(head >= 0);
	guest_rx_gpa[head] = gpa;
}

/* Offer an existing buffer again. */
CHECK__UNUSED static void guest__offer_again(uint64_t gpa)
{
	struct driver_buf buf = {gpa, GUEST_RX_BUF};
	int head = driver_queue__add(&guest_rx, &buf, 0, 1);
	CHECK(head >= 0);
	guest_rx_gpa[head] = gpa;
}

CHECK__UNUSED static void guest__boot(unsigned rx_buffers)
{
	struct virtio_device *dev = guest_dd.dev;
	driver__init(&guest_mem, 2 << 20);
	driver_queue__init(&guest_rx, &guest_mem, &dev->queues[VSOCK_RX], GUEST_RX_SIZE, DRIVER_EVENT_IDX);
	driver_queue__init(&guest_tx, &guest_mem, &dev->queues[VSOCK_TX], GUEST_TX_SIZE, DRIVER_EVENT_IDX);
	driver_queue__init(&guest_event, &guest_mem, &dev->queues[VSOCK_EVENT], 8, DRIVER_EVENT_IDX);
	guest_tx_gpa = driver__alloc(&guest_mem, sizeof(struct vsock_hdr) + GUEST_TX_BUF);
	for (unsigned i = 0; i < rx_buffers; i++)
		guest__offer();
	guest_taken = 0;
	guest_offers = true;
	driver_device__activate(&guest_dd);
}

CHECK__UNUSED static void guest__halt(void)
{
	driver_queue__free(&guest_rx);
	driver_queue__free(&guest_tx);
	driver_queue__free(&guest_event);
	driver__free(&guest_mem);
}

static int guest__connect_port(void *dir, uint32_t port)
{
	return vsock_ports__connect(*(const int *)dir, port);
}

static int guest__listen_port(void *dir, uint32_t port)
{
	return vsock_ports__listen(*(const int *)dir, port);
}

CHECK__UNUSED static void guest__set_up(unsigned rx_buffers)
{
	struct virtio_device *dev;
	strcpy(guest_dir, "/tmp/capsa-vsock-test.XXXXXX");
	CHECK(mkdtemp(guest_dir) != NULL);
	static const struct vsock_ports_ops ports = {guest__connect_port, guest__listen_port};
	guest_dir_fd = open(guest_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(guest_dir_fd >= 0);
	struct vsock_options options = {
		.guest_cid = GUEST_CID, .dir_fd = guest_dir_fd, .ports = &ports, .ports_owner = &guest_dir_fd};
	CHECK_EQ(virtio_vsock__new(&options, &dev), 0);
	driver_device__start(&guest_dd, dev);
	guest__boot(rx_buffers);
}

/* Also checks that no socket stays behind. */
CHECK__UNUSED static void guest__tear_down(void)
{
	driver_device__stop(&guest_dd);
	guest__halt();
	CHECK_EQ(rmdir(guest_dir), 0);
}

struct guest_listen {
	uint32_t port;
	int result;
};

CHECK__UNUSED static void guest__do_listen(void *arg)
{
	struct guest_listen *l = arg;
	l->result = vsock__listen(guest_dd.dev, l->port);
}

/* What vsock__listen says. */
CHECK__UNUSED static int guest__listen(uint32_t port)
{
	struct guest_listen l = {.port = port};
	CHECK_EQ(loop__call(guest_dd.loop, guest__do_listen, &l), 0);
	return l.result;
}

CHECK__UNUSED static struct sockaddr_un host__address(const char *prefix, uint32_t port)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s%u.sock", guest_dir, prefix, port);
	return a;
}

/* A client of the host on the guest's port. */
CHECK__UNUSED static int host__connect(uint32_t port)
{
	struct sockaddr_un a = host__address("", port);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* A server of the host on its own port. */
CHECK__UNUSED static int host__listen(uint32_t port)
{
	struct sockaddr_un a = host__address("host-", port);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(fd, 128), 0);
	return fd;
}

CHECK__UNUSED static void host__unlisten(uint32_t port, int fd)
{
	struct sockaddr_un a = host__address("host-", port);
	close(fd);
	CHECK_EQ(unlink(a.sun_path), 0);
}

/* Bytes from a host socket: `len`, fewer at its end or when a second passes without any. */
CHECK__UNUSED static size_t host__read(int fd, void *to, size_t len)
{
	size_t done = 0;
	while (done < len) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 1000) <= 0)
			break;
		ssize_t n = read(fd, (uint8_t *)to + done, len - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

/* The host socket is at its end, without an error. */
CHECK__UNUSED static bool host__at_end(int fd)
{
	char c;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, 2000) == 1 && read(fd, &c, 1) == 0;
}

CHECK__UNUSED static struct vsock_hdr guest__hdr(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct vsock_hdr){.src_cid = GUEST_CID,
				  .dst_cid = VSOCK_HOST_CID,
				  .src_port = guest_port,
				  .dst_port = host_port,
				  .type = VSOCK_TYPE_STREAM,
				  .op = op,
				  .buf_alloc = GUEST_WINDOW,
				  .fwd_cnt = guest_taken};
}

/* Send a packet and wait until the device has taken it. */
CHECK__UNUSED static void guest__send_raw(const struct vsock_hdr *hdr, const void *payload, uint32_t len)
{
	memcpy(driver__at(&guest_mem, guest_tx_gpa), hdr, sizeof(*hdr));
	if (len)
		memcpy((uint8_t *)driver__at(&guest_mem, guest_tx_gpa) + sizeof(*hdr), payload, len);
	struct driver_buf bufs[] = {{guest_tx_gpa, sizeof(*hdr)}, {guest_tx_gpa + sizeof(*hdr), len}};
	CHECK(driver_queue__add(&guest_tx, bufs, len ? 2 : 1, 0) >= 0);
	driver_device__kick(&guest_dd, VSOCK_TX);
	CHECK(driver_queue__wait(&guest_tx, NULL, 5000) >= 0);
}

CHECK__UNUSED static void guest__send(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags)
{
	struct vsock_hdr hdr = guest__hdr(guest_port, host_port, op);
	hdr.flags = flags;
	guest__send_raw(&hdr, NULL, 0);
}

CHECK__UNUSED static void guest__send_data(uint32_t guest_port, uint32_t host_port, const void *payload, uint32_t len)
{
	struct vsock_hdr hdr = guest__hdr(guest_port, host_port, VSOCK_OP_RW);
	hdr.len = len;
	guest__send_raw(&hdr, payload, len);
}

/* The next packet from the device within `ms`; its payload is copied to `payload` (GUEST_RX_BUF bytes). False when none
 * came. */
CHECK__UNUSED static bool guest__receive(struct vsock_hdr *hdr, void *payload, int ms)
{
	uint32_t len;
	int head = driver_queue__wait(&guest_rx, &len, ms);
	if (head < 0)
		return false;
	CHECK(len >= sizeof(*hdr));
	uint64_t gpa = guest_rx_gpa[head];
	memcpy(hdr, driver__at(&guest_mem, gpa), sizeof(*hdr));
	CHECK_EQ(hdr->src_cid, VSOCK_HOST_CID);
	CHECK_EQ(hdr->dst_cid, GUEST_CID);
	CHECK_EQ(hdr->len, len - sizeof(*hdr));
	if (payload)
		memcpy(payload, (uint8_t *)driver__at(&guest_mem, gpa) + sizeof(*hdr), hdr->len);
	if (guest_offers) {
		guest__offer_again(gpa);
		driver_device__kick(&guest_dd, VSOCK_RX);
	}
	return true;
}

/* The next packet, which must have this operation. */
CHECK__UNUSED static struct vsock_hdr guest__expect(uint16_t op)
{
	struct vsock_hdr hdr;
	CHECK(guest__receive(&hdr, NULL, 5000));
	CHECK_EQ(hdr.op, op);
	return hdr;
}

/* No packet comes for 50 ms. */
CHECK__UNUSED static void guest__expect_silence(void)
{
	struct vsock_hdr hdr;
	if (!guest__receive(&hdr, NULL, 50))
		return;
	CHECK_EQ(hdr.op, 0); /* shows which one came */
}

/* A stream from a host client to guest port `port`, accepted by the guest; *host_port is its other end. */
CHECK__UNUSED static int guest__accept(uint32_t port, uint32_t *host_port)
{
	int fd = host__connect(port);
	struct vsock_hdr hdr = guest__expect(VSOCK_OP_REQUEST);
	CHECK_EQ(hdr.dst_port, port);
	CHECK_EQ(hdr.type, VSOCK_TYPE_STREAM);
	*host_port = hdr.src_port;
	guest__send(port, *host_port, VSOCK_OP_RESPONSE, 0);
	return fd;
}

/* A stream from guest port `guest_port` to the host's server `server` on `host_port`. */
CHECK__UNUSED static int guest__connect(uint32_t guest_port, uint32_t host_port, int server)
{
	guest__send(guest_port, host_port, VSOCK_OP_REQUEST, 0);
	struct vsock_hdr hdr = guest__expect(VSOCK_OP_RESPONSE);
	CHECK_EQ(hdr.dst_port, guest_port);
	CHECK_EQ(hdr.src_port, host_port);
	CHECK_EQ(hdr.buf_alloc, VSOCK_WINDOW);
	int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

#endif
