/* A pseudo-terminal for a program (pty(7)). */
#include "process/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41) /* asm-generic/ioctls.h */
#endif

enum {
	TTY_GROUP = 5, /* of every distribution's terminals */
	CONTROL_D = 4,
};

int terminal__open(struct terminal *terminal, struct terminal_size size, uid_t owner)
{
	int host = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), program = -1, unlock = 0;
	if (host < 0)
		return -errno;
	terminal__resize(host, size);
	/* by the descriptor: its name in /dev/pts might by now lead elsewhere */
	if (ioctl(host, TIOCSPTLCK, &unlock) == 0)
		program = ioctl(host, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	int err;
	if (program < 0) {
		err = -errno;
		close(host);
		return err;
	}
	/* some programs open their terminal by name; a file system that has no owners is no obstacle to the others */
	if (owner && fchown(program, owner, TTY_GROUP) && fchown(program, owner, (gid_t)-1))
		errno = 0;
	*terminal = (struct terminal){.host = host, .program = program};
	return 0;
}

void terminal__resize(int host, struct terminal_size size)
{
	const struct winsize wanted = {.ws_col = size.columns, .ws_row = size.rows};
	ioctl(host, TIOCSWINSZ, &wanted);
}

uint8_t terminal__end_of_input(int host)
{
	struct termios modes;
	return tcgetattr(host, &modes) == 0 && modes.c_cc[VEOF] ? modes.c_cc[VEOF] : CONTROL_D;
}
