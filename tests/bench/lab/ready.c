/* Hears the guests that QEMU boots: prints a line as soon as one has sent anything to the vsock port given. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

int main(int argc, char **argv)
{
	struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0), guest = -1;
	char some[4096];

	if (argc != 2)
		return 2;
	at.svm_port = (unsigned)atoi(argv[1]);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1)) {
		perror("ready");
		return 1;
	}
	for (;;) {
		puts("");
		fflush(stdout);
		int next = accept(listener, NULL, NULL);
		if (next < 0 || read(next, some, sizeof(some)) <= 0)
			return 1;
		if (guest >= 0)
			close(guest);
		guest = next; /* open until the next: a guest would notice */
	}
}
