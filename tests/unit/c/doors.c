/* Doors: what a process opens for the confined VMM, by a number; links that the VMM has put there lead nowhere. */
#include "vmm/build/doors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "net/config.h"

static char top[64]; /* vmm/, the directory of the VMM's own, and outside.sock, somebody else's socket */
static struct vmm_config config;
static struct doors doors;
static char service[128];
static struct service served = {.socket = service};
static pid_t opener;
static int outside;

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CHECK(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 4) == 0);
	return fd;
}

static const char *at(const char *name)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

static void set_up(void)
{
	int ends[2];
	strcpy(top, "/tmp/capsa-doors.XXXXXX");
	CHECK(mkdtemp(top) && mkdir(at("vmm"), 0700) == 0);
	outside = listen_at(at("outside.sock"));
	snprintf(service, sizeof(service), "%s", at("vmm/secret-0.sock"));
	config = (struct vmm_config){.runtime_dir = top};
	((struct nat_options *)vmm_config__device(&config, &device_net))->services = (struct services){&served, 1};
	CHECK_EQ(doors__pair(ends), 0);
	opener = fork();
	if (opener == 0) {
		close(ends[0]);
		for (;;) {
			char byte;
			if (recv(ends[1], &byte, 1, MSG_PEEK) <= 0 || !doors__serve(ends[1], &config))
				_exit(0);
		}
	}
	close(ends[1]);
	doors = (struct doors){.fd = ends[0], .lock = PTHREAD_MUTEX_INITIALIZER};
}

static void tear_down(void)
{
	char command[96];
	int status = -1;
	close(doors.fd);
	close(outside);
	CHECK(waitpid(opener, &status, 0) == opener && WIFEXITED(status));
	snprintf(command, sizeof(command), "rm -rf %s", top);
	CHECK_EQ(system(command), 0);
}

static void a_port_of_the_guest_gets_a_socket_that_listens(void)
{
	set_up();
	int fd = doors__open(&doors, DOOR_GUEST_PORT, 52), listens = 0;
	socklen_t len = sizeof(listens);
	CHECK(fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens);
	CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
	CHECK_EQ(doors__open(&doors, DOOR_GUEST_PORT, 52), -EADDRINUSE);
	close(fd);
	tear_down();
}

static void a_port_of_the_host_and_a_service_are_connected_to(void)
{
	set_up();
	int port = listen_at(at("vmm/host-7.sock")), secret = listen_at(service);
	int one = doors__open(&doors, DOOR_HOST_PORT, 7), other = doors__open(&doors, DOOR_SERVICE, 0);
	CHECK(one >= 0 && other >= 0);
	CHECK(accept(port, NULL, NULL) >= 0 && accept(secret, NULL, NULL) >= 0);
	CHECK_EQ(doors__open(&doors, DOOR_HOST_PORT, 8), -ENOENT);
	CHECK_EQ(doors__open(&doors, DOOR_SERVICE, 1), -ENOENT);
	close(one);
	close(other);
	close(port);
	close(secret);
	tear_down();
}

static void links_lead_nowhere(void)
{
	set_up();
	CHECK(symlink("../outside.sock", at("vmm/host-7.sock")) == 0 && symlink("../outside.sock", service) == 0);
	CHECK_EQ(doors__open(&doors, DOOR_HOST_PORT, 7), -ECONNREFUSED);
	CHECK_EQ(doors__open(&doors, DOOR_SERVICE, 0), -ECONNREFUSED);
	CHECK(symlink("/tmp", at("vmm/99.sock")) == 0);
	CHECK_EQ(doors__open(&doors, DOOR_GUEST_PORT, 99), -EADDRINUSE);
	CHECK(mkfifo(at("vmm/host-9.sock"), 0600) == 0);
	CHECK_EQ(doors__open(&doors, DOOR_HOST_PORT, 9), -ECONNREFUSED);
	char away[128];
	snprintf(away, sizeof(away), "%s", at("away"));
	CHECK(rename(at("vmm"), away) == 0 && symlink("away", at("vmm")) == 0);
	CHECK_EQ(doors__open(&doors, DOOR_GUEST_PORT, 53), -ENOTDIR);
	CHECK_EQ(doors__open(&doors, DOOR_SERVICE, 0), -ENOTDIR);
	tear_down();
}

static void what_is_no_request_ends_it(void)
{
	set_up();
	CHECK_EQ(doors__open(&doors, (enum door)'x', 1), -EINVAL);
	CHECK_EQ(send(doors.fd, "abc", 3, MSG_NOSIGNAL), 3);
	CHECK_EQ(doors__open(&doors, DOOR_GUEST_PORT, 52), -ECONNRESET);
	tear_down();
}

int main(void)
{
	CASE(a_port_of_the_guest_gets_a_socket_that_listens);
	CASE(a_port_of_the_host_and_a_service_are_connected_to);
	CASE(links_lead_nowhere);
	CASE(what_is_no_request_ends_it);
	return check__done();
}
