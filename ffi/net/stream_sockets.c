/* Options of TCP; sockets of others have none of these, and are left as they are. */
#include "net/stream_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

void stream_socket__keep_alive(int fd)
{
	const int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void stream_socket__reset_at_close(int fd)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

bool stream_socket__is_over(int fd)
{
	struct tcp_info info = {.tcpi_state = TCP_ESTABLISHED};
	socklen_t len = sizeof(info);
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_CLOSE;
}
