/* In a raw VM's guest: `vsock PORT` takes one connection and sends back what it gets; `vsock PORT WORDS` says these to
 * the host's port and prints the answer. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct sockaddr_vm { /* as in <linux/vm_sockets.h>, which musl is without */
	unsigned short family, reserved;
	unsigned int port, cid;
	unsigned char flags, zero[3];
};

enum { ANY = -1U, HOST = 2 };

static void copy(int from, int to)
{
	char bytes[256];
	ssize_t n;
	while ((n = read(from, bytes, sizeof(bytes))) > 0 && write(to, bytes, (size_t)n) == n)
		;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	struct sockaddr_vm address = {.family = 40, .port = (unsigned)atoi(argv[1]), .cid = argc > 2 ? HOST : ANY};
	int fd = socket(40, SOCK_STREAM, 0); /* AF_VSOCK */
	if (argc > 2) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		    write(fd, argv[2], strlen(argv[2])) < 0)
			return 1;
		shutdown(fd, SHUT_WR);
		copy(fd, 1);
		return 0;
	}
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0 ||
	    write(1, "listening\n", 10) < 0)
		return 1;
	int peer = accept(fd, NULL, NULL);
	copy(peer, peer);
	return peer < 0;
}
