/* What the VMM says to the processes that watch it, and that it is dead: messages of a byte or little more over a
 * socket pair. */
#include "vmm/keeper/link.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

#include "os/socket.h"

#define CLEAN_MS 3000

int link__pair(int ends[2])
{
	return socket__pair(SOCK_SEQPACKET, true, ends);
}

/* Without waiting: a VMM that was taken over may take no answers, so as to hold up who gives them. */
bool link__tell(int fd, enum link_message message)
{
	char byte = (char)message;
	return send(fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

bool link__tell_number(int fd, enum link_message message, int number)
{
	const struct link_numbered word = {.message = (char)message, .number = number};
	return send(fd, &word, sizeof(word), MSG_NOSIGNAL) == (ssize_t)sizeof(word);
}

enum link_message link__take(int fd, int *number)
{
	struct link_numbered word = {.message = 0};
	ssize_t n = recv(fd, &word, sizeof(word), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return LINK_NOTHING;
	if (n == (ssize_t)sizeof(word) && number)
		*number = word.number;
	return n > 0 ? (enum link_message)word.message : LINK_CLOSED;
}

bool link__ask_clean(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	return link__tell(fd, LINK_CLEAN) && poll(&pfd, 1, CLEAN_MS) == 1 && link__take(fd, NULL) == LINK_CLEANED;
}
