/* What the network benchmark runs in the guest: one TCP stream in large pieces, timed from connection to end.
 * Usage: stream up|down ADDRESS PORT MIB      prints "up|down SECONDS" */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 << 10)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static char piece[PIECE];
	if (argc != 5)
		return 2;
	int up = strcmp(argv[1], "up") == 0, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[3]))};
	long long left = atoll(argv[4]) << 20;
	inet_pton(AF_INET, argv[2], &to.sin_addr);
	double began = now();
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror("stream: connect");
		return 1;
	}
	while (left > 0) {
		size_t most = left < PIECE ? (size_t)left : PIECE;
		ssize_t n = up ? write(fd, piece, most) : read(fd, piece, most);
		if (n <= 0)
			break;
		left -= n;
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, piece, PIECE) > 0) /* the other side has everything when it ends */
		;
	if (left) {
		fprintf(stderr, "stream: %lld bytes are missing\n", left);
		return 1;
	}
	printf("%s %.3f\n", argv[1], now() - began);
	return 0;
}
