/* An intruder in QEMU's place: a program that the VMM starts as it starts QEMU, in the same cage. It answers QEMU's
 * monitor, does what the lines of its initrd order, and writes to the console what became of each. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "deeds.h"

/* The descriptor in "socket,id=NAME,fd=N" among the arguments, or -1. */
static int socket_of(char *const argv[], const char *name)
{
	char start[64];
	snprintf(start, sizeof(start), "socket,id=%s,fd=", name);
	for (; *argv; argv++)
		if (strncmp(*argv, start, strlen(start)) == 0)
			return atoi(*argv + strlen(start));
	return -1;
}

static const char *value_of(char *const argv[], const char *option)
{
	for (; argv[0] && argv[1]; argv++)
		if (strcmp(argv[0], option) == 0)
			return argv[1];
	return NULL;
}

/* Both are written before QEMU reads: one byte at a time leaves the second to the second call. */
static int answer_command(int monitor)
{
	static const char answer[] = "{\"return\": {}}\r\n";
	char byte = 0;
	while (byte != '\n')
		if (read(monitor, &byte, 1) != 1)
			return -1;
	return write(monitor, answer, sizeof(answer) - 1) == (ssize_t)sizeof(answer) - 1 ? 0 : -1;
}

/* As QEMU does before anything else: to the sockets of network cards, "socket,id=dN,path=PATH" among the arguments. */
static int connect_cards(char *const argv[])
{
	for (; *argv; argv++) {
		const char *path = strncmp(*argv, "socket,id=d", 11) == 0 ? strstr(*argv, ",path=") : NULL;
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		if (!path)
			continue;
		snprintf(address.sun_path, sizeof(address.sun_path), "%s", path + 6);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			return -1;
	}
	return 0;
}

static char flood_text[1 << 16];

static void *pour(void *arg)
{
	while (write(*(const int *)arg, flood_text, sizeof(flood_text)) > 0)
		;
	return NULL;
}

/* More than anybody takes, without end: to the monitor what are replies, or a line that has no end; or last words. */
static int flood(const char *what, int monitor)
{
	static const char reply[] = "{\"return\": {}}\r\n";
	int to = strcmp(what, "words") == 0 ? STDERR_FILENO : monitor;
	pthread_t threads[3];
	memset(flood_text, 'x', sizeof(flood_text));
	for (size_t i = 0; strcmp(what, "replies") == 0 && i + sizeof(reply) < sizeof(flood_text);
	     i += sizeof(reply) - 1)
		memcpy(flood_text + i, reply, sizeof(reply) - 1);
	for (int i = 0; i < 3; i++)
		if (pthread_create(&threads[i], NULL, pour, &to) != 0)
			return 6;
	return pthread_join(threads[0], NULL) ? 6 : 7;
}

static int carry_out(const char *line, int console)
{
	char deed[24], arg[DEED_MAX] = "", result[DEED_MAX + 64];
	int outcome = sscanf(line, "%23s %511[^\n]", deed, arg) < 1 ? DEED_NOT_UNDERSTOOD : deeds__act(deed, arg);
	int len = snprintf(result, sizeof(result), "%s -> %d\n", line, outcome);
	return write(console, result, (size_t)len) == len ? 0 : -1;
}

int main(int argc, char *argv[])
{
	const char *initrd = value_of(argv, "-initrd");
	int monitor = socket_of(argv, "monitor"), console = socket_of(argv, "console");
	FILE *orders = initrd ? fopen(initrd, "re") : NULL;
	char line[DEED_MAX + 32];
	(void)argc;
	if (!orders) {
		fprintf(stderr, "no orders: %s: %s\n", initrd ? initrd : "-initrd", strerror(errno));
		return 2;
	}
	if (connect_cards(argv) < 0)
		return 5;
	(void)fcntl(console, F_SETFL, 0);
	for (int i = 0; i < 2; i++)
		if (answer_command(monitor) < 0)
			return 3;
	while (fgets(line, sizeof(line), orders)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "flood ", 6) == 0)
			return flood(line + 6, monitor);
		if (*line && carry_out(line, console) < 0)
			return 4;
	}
	return 0;
}
