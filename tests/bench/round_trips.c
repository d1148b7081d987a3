/* What the network benchmark runs in the guest, beside streams: short exchanges, one after the other.
 * Usage: round_trips connect|query ADDRESS PORT COUNT      prints "connect|query SECONDS", for all of them
 * connect: TCP connections that the other side ends at once. query: DNS queries for bench.test by UDP. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int connect_once(void)
{
	char byte;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && read(fd, &byte, 1) == 0;
	close(fd);
	return ok;
}

static int query_once(int number)
{
	unsigned char query[] = "\0\0\1\0\0\1\0\0\0\0\0\0\5bench\4test\0\0\1\0\1", answer[512];
	struct timeval patience = {.tv_sec = 5};
	query[0] = (unsigned char)(number >> 8);
	query[1] = (unsigned char)number;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	int ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
		 send(fd, query, sizeof(query) - 1, 0) == sizeof(query) - 1 &&
		 recv(fd, answer, sizeof(answer), 0) > (ssize_t)sizeof(query) && memcmp(answer, query, 2) == 0 &&
		 (answer[3] & 15) == 0;
	close(fd);
	return ok;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int connects = strcmp(argv[1], "connect") == 0, count = atoi(argv[4]);
	to.sin_port = htons((unsigned short)atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &to.sin_addr);
	double began = now();
	for (int i = 0; i < count; i++) {
		if (!(connects ? connect_once() : query_once(i))) {
			perror("round_trips");
			return 1;
		}
	}
	printf("%s %.4f\n", argv[1], now() - began);
	return 0;
}
