/* Fuzzes what comes over the control channel and what a VMM is started with: frames of requests, and configurations;
 * and the questions that libcapsa answers without one. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capsa.h"
#include "input.h"
#include "vmm/build/config.h"
#include "vmm/control/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void on_request(void *owner, struct control_channel *from, const struct control_request *request)
{
	struct control **control = owner;
	struct buffer frame = {.data = NULL};
	size_t op = strlen(request->op);
	require(request->port < UINT32_MAX);
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", request->id);
	writer__text(&out, "op", request->op);
	if (request->data.at)
		writer__bytes(&out, "data", request->data.at, request->data.length);
	writer__open(&out, "result");
	writer__bool(&out, "follow", request->follow);
	writer__close(&out);
	channel__reply(from, &out);
	if (request->follow)
		channel__follow(from);
	out = frame__begin(&frame);
	writer__text(&out, "event", "guest");
	control__event(*control, &out, op & 1);
}

static void on_nothing(void *owner)
{
	(void)owner;
}

static void on_time(void *arg)
{
	loop__stop(arg);
}

static void on_closed(void *owner, const struct control_channel *channel)
{
	(void)owner, (void)channel;
}

static void fuzz_control(const uint8_t *data, size_t len)
{
	static const struct control_ops ops = {
		.request = on_request, .starter_gone = on_nothing, .closed = on_closed, .drained = on_nothing};
	int pair[2];
	struct loop *loop;
	struct control *control;
	atomic_bool unfinished = false;
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	require(loop__new(&loop) == 0);
	struct control_options options = {
		.loop = loop, .starter = pair[1], .unfinished = &unfinished, .ops = &ops, .owner = &control};
	require(control__new(&options, &control) == 0);
	require(send(pair[0], data, len, MSG_NOSIGNAL) >= 0);
	uint64_t timer;
	require(loop__timer(loop, 0, on_time, loop, &timer) == 0);
	loop__run(loop);
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "exited");
	control__finish(control, &out, 1);
	/* whole frames came out, each of the length it says */
	uint8_t head[FRAME_HEAD];
	static uint8_t body[FRAME_LIMIT];
	while (recv(pair[0], head, sizeof(head), 0) == (ssize_t)sizeof(head)) {
		uint32_t want = frame__length(head);
		require(want && want <= FRAME_LIMIT);
		if (recv(pair[0], body, want, MSG_WAITALL) != (ssize_t)want) {
			require(atomic_load(&unfinished));
			break;
		}
		require((body[0] & 0xe0) == 0xa0);
	}
	control__free(control);
	loop__free(loop);
	close(pair[0]);
}

static void fuzz_config(const uint8_t *data, size_t len)
{
	struct vmm_config config;
	struct failure why = {.message = ""};
	if (vmm_config__read(&config, data, len, &why)) {
		require(why.message[0] && !config.arena.first);
		return;
	}
	require(config.cpus >= 1 && config.cpus <= 255 && config.memory % 4096 == 0);
	require(config.runtime_dir[0] == '/' && strlen(config.runtime_dir) <= CONFIG_MAX_RUNTIME_DIR);
	vmm_config__free(&config);
}

static void fuzz_explain(const uint8_t *data, size_t len)
{
	uint8_t answer[4096];
	int32_t n = capsa_explain(data, len, answer, sizeof(answer));
	require(n > 0 && (answer[0] & 0xe0) == 0xa0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	if (data[0] & 1)
		fuzz_config(data + 1, len - 1);
	else if (data[0] & 2)
		fuzz_explain(data + 1, len - 1);
	else
		fuzz_control(data + 1, len - 1);
	return 0;
}
