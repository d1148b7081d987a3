/* The recorded frames of guest/vectors that init reads and writes, against the code that does so. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../c/check.h"
#include "../c/profile.h"
#include "init/events.h"
#include "init/plan.h"

/* The bytes of the vector `name` in guest/vectors/`file`, which is looked for from the project's root. */
static size_t vector(const char *file, const char *name, uint8_t *bytes, size_t size)
{
	char path[128], wanted[128], line[16384];
	size_t length = 0;
	FILE *in;

	snprintf(path, sizeof(path), "guest/vectors/%s", file);
	snprintf(wanted, sizeof(wanted), "{\"name\":\"%s\",", name);
	in = fopen(path, "r");
	CHECK(in != NULL);
	while (fgets(line, sizeof(line), in)) {
		const char *hex = strstr(line, "\"hex\":\"");

		if (!strstr(line, wanted) || !hex)
			continue;
		for (hex += 7; length < size && sscanf(hex, "%2hhx", &bytes[length]) == 1; hex += 2)
			length++;
	}
	fclose(in);
	CHECK(length > 0);
	return length;
}

/* What was queued is the vector, to the byte. */
static void check_event(struct events *events, const char *name)
{
	uint8_t bytes[4096];
	size_t length = vector("events.json", name, bytes, sizeof(bytes));

	CHECK_EQ(buffer__pending(&events->out), length);
	CHECK(memcmp(buffer__head(&events->out), bytes, length) == 0);
	buffer__free(&events->out);
}

static void init_writes_its_events_as_recorded(void)
{
	/* not connected: everything stays queued */
	struct events events = {.fd = -1};
	const struct boot_times times = {
		.kernel = 412000000, .init = 413000000, .mounts = 5000000000, .agent = 5000000001};

	events__ready(&events, &times);
	check_event(&events, "ready");
	events__main_started(&events, 77);
	check_event(&events, "main-started");
	events__main_exit(&events, 3 << 8);
	check_event(&events, "main-exit, exit code");
	events__main_exit(&events, 15);
	check_event(&events, "main-exit, signal");
	events__oom(&events, &(struct oom_kill){.pid = 77, .limited = true, .program = "tail"});
	check_event(&events, "oom");
	events__expired(&events, "idle");
	check_event(&events, "expired");
	events__boot_failed(&events, -ENOENT, "share src: not among the shares");
	check_event(&events, "boot-failed");
}

static void output_is_framed_as_recorded_however_much_room_there_was(void)
{
	static const size_t rooms[] = {4, 23, 24, 255, 256, 65535, 65536, 1000000};

	for (size_t i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
		struct events events = {.fd = -1};
		struct writer out;
		uint8_t *payload = data_frame__begin(&out, &events.out, 0, "main-stdout", rooms[i]);

		CHECK(payload != NULL);
		memcpy(payload, "one\n", 4);
		data_frame__end(&out, 4);
		check_event(&events, "main-stdout");
	}
}

static void who_was_killed_for_memory_is_read_from_the_kernels_log(void)
{
	struct oom_kill kill;

	CHECK(oom__parse("3,417,2914085,-;Out of memory: Killed process 77 (tail) total-vm:9kB, UID:0\n", &kill));
	CHECK(kill.pid == 77 && !kill.limited);
	CHECK_STR(kill.program, "tail");
	CHECK(oom__parse("3,1,2,-;Memory cgroup out of memory: Killed process 8 (a) total-vm: (b)) total-vm:1kB",
			 &kill));
	CHECK(kill.pid == 8 && kill.limited);
	CHECK_STR(kill.program, "a) total-vm: (b)");
	/* a program wrote that into the log */
	CHECK(!oom__parse("11,1,2,-;Out of memory: Killed process 77 (tail) total-vm:9kB", &kill));
	CHECK(!oom__parse("3,1,2,-;tail invoked oom-killer: gfp_mask=0x1", &kill));
	CHECK(!oom__parse("3,1,2,-;Out of memory: Killed process (tail) total-vm:9kB", &kill));
	CHECK(!oom__parse("3,1,2,-;Out of memory: Killed process 77 (tail", &kill));
	CHECK(!oom__parse("3,1,2,-;Out of memory: Killed process -7 (tail) total-vm:", &kill));
	CHECK(!oom__parse("", &kill));
}

static void no_one_to_tell_is_no_failure(void)
{
	struct events events = {.fd = -1, .lost = true};

	events__main_started(&events, 77);
	CHECK_EQ(buffer__pending(&events.out), 0);
}

static void the_smallest_plan(void)
{
	uint8_t bytes[4096];
	struct plan plan;
	const char *why = "";

	CHECK_EQ(plan__parse(&plan, bytes, vector("plan.json", "plan", bytes, sizeof(bytes)), &why), 0);
	CHECK_STR(plan.hostname, "box");
	CHECK_EQ(plan.agent_port, 5000);
	CHECK_EQ(plan.events_port, 5001);
	CHECK_EQ(plan.clock_port, 0);
	CHECK(plan.fs_tag == NULL && plan.mount_count == 0 && plan.lower.count == 0 && !plan.has_main);
	CHECK_STR(environment__get(&plan.environment, "HOME"), "/root");
	CHECK_STR(environment__get(&plan.environment, "LANG"), "C.UTF-8");
	plan__free(&plan);
}

static void the_largest_plan(void)
{
	uint8_t bytes[4096];
	struct plan plan;
	const char *why = "";

	CHECK_EQ(plan__parse(&plan, bytes, vector("plan.json", "plan with everything", bytes, sizeof(bytes)), &why), 0);
	CHECK_EQ(plan.clock_port, 5002);
	CHECK_STR(plan.fs_tag, "capsa");
	CHECK_EQ(plan.lower.count, 2);
	CHECK_STR(plan.lower.list[0], "upper");
	CHECK_STR(plan.lower.list[1], "usr");
	CHECK_EQ(plan.mount_count, 3);
	CHECK_STR(plan.mounts[0].name, "src");
	CHECK_STR(plan.mounts[0].target, "/src");
	CHECK(plan.mounts[0].read_only && !plan.mounts[0].overlay);
	CHECK(!plan.mounts[1].read_only && !plan.mounts[1].overlay);
	CHECK(plan.mounts[2].overlay);
	CHECK(plan.has_main && plan.main_has_user && plan.main_has_group);
	CHECK_EQ(plan.main_user, 1000);
	CHECK_EQ(plan.main_argv.count, 2);
	CHECK_STR(plan.main_argv.list[1], "script.py");
	CHECK_STR(plan.main_cwd, "/src");
	CHECK_STR(environment__get(&plan.main_environment, "A"), "b");
	CHECK_STR(environment__get(&plan.main_environment, "LANG"), "C");
	CHECK(environment__get(&plan.environment, "A") == NULL);
	plan__free(&plan);
}

static void a_plan_with_an_authority_to_trust(void)
{
	uint8_t bytes[4096];
	struct plan plan;
	const char *why = "";
	size_t length = vector("plan.json", "plan with an authority to trust", bytes, sizeof(bytes));

	CHECK_EQ(plan__parse(&plan, bytes, length, &why), 0);
	CHECK_STR(plan.trust, "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n");
	plan__free(&plan);
}

static void a_plan_with_a_network(void)
{
	uint8_t bytes[4096];
	struct plan plan;
	const char *why = "";

	CHECK_EQ(plan__parse(&plan, bytes, vector("plan.json", "plan with a network", bytes, sizeof(bytes)), &why), 0);
	CHECK(plan.network.present);
	CHECK_STR(plan.network.ipv4.address, "10.0.2.15");
	CHECK_EQ(plan.network.ipv4.prefix, 24);
	CHECK_STR(plan.network.ipv6.gateway, "fd00::2");
	CHECK_EQ(plan.network.ipv6.prefix, 64);
	CHECK_EQ(plan.network.name_servers.count, 2);
	CHECK_STR(plan.network.name_servers.list[1], "fd00::3");
	CHECK_EQ(plan.network.search.count, 2);
	CHECK_STR(plan.network.search.list[0], "corp.example.org");
	CHECK_STR(plan.network.options.list[0], "ndots:2");
	plan__free(&plan);
}

static void a_plan_with_an_end(void)
{
	uint8_t bytes[4096];
	struct plan plan;
	const char *why = "";

	CHECK_EQ(plan__parse(&plan, bytes, vector("plan.json", "plan with an end", bytes, sizeof(bytes)), &why), 0);
	CHECK_EQ(plan.ttl_ms, 3600000);
	CHECK_EQ(plan.idle_ms, UINT32_MAX);
	plan__free(&plan);
}

/* Every prefix of a plan, and every plan with one byte changed, is refused or accepted, never a crash (see ASan). */
static void break_plan(const char *name)
{
	uint8_t bytes[4096], changed[4096];
	size_t length = vector("plan.json", name, bytes, sizeof(bytes));
	const char *why = "";

	for (size_t i = 0; i < length; i++) {
		struct plan plan;

		CHECK_EQ(plan__parse(&plan, bytes, i, &why), -EPROTO);
		plan__free(&plan);
	}
	for (size_t i = 0; i < length; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct plan plan;

			memcpy(changed, bytes, length);
			changed[i] ^= (uint8_t)(1U << bit);
			if (plan__parse(&plan, changed, length, &why) != 0)
				CHECK(*why);
			plan__free(&plan);
		}
}

static void broken_plans_are_survived(void)
{
	break_plan("plan with everything");
	break_plan("plan with a network");
	break_plan("plan with an end");
	break_plan("plan with private networks");
}

static void a_plan_with_private_networks(void)
{
	uint8_t bytes[4096];
	struct plan plan;
	const char *why = "";
	size_t length = vector("plan.json", "plan with private networks", bytes, sizeof(bytes));

	CHECK_EQ(plan__parse(&plan, bytes, length, &why), 0);
	CHECK(!plan.network.present);
	CHECK_EQ(plan.lans.count, 2);
	CHECK(memcmp(plan.lans.lans[1].mac, "\2cpn\2\2", 6) == 0);
	CHECK_STR(plan.lans.lans[0].ipv4.address, "10.202.1.2");
	CHECK_EQ(plan.lans.lans[0].ipv6.prefix, 64);
	CHECK(!plan.lans.lans[0].ipv4.gateway);
	CHECK_EQ(plan.lans.name_servers.count, 1);
	CHECK_STR(plan.lans.name_servers.list[0], "10.202.1.1");
	plan__free(&plan);
}

/* A plan of one mount, with the given name and target, none longer than 23 bytes. */
static int parse_mount(const char *name, const char *target)
{
	struct buffer bytes = {0};
	struct writer out = writer__begin(&bytes);
	writer__open(&out, NULL);
	writer__uint(&out, "version", 1);
	writer__text(&out, "hostname", "box");
	writer__uint(&out, "agentPort", 1);
	writer__uint(&out, "eventsPort", 2);
	writer__text(&out, "fsTag", "capsa");
	writer__list(&out, "mounts", 1);
	writer__open(&out, NULL);
	writer__text(&out, "name", name);
	writer__text(&out, "target", target);
	writer__bool(&out, "readOnly", true);
	writer__close(&out);
	writer__close(&out);
	CHECK_EQ(writer__end(&out), 0);
	struct plan plan;
	const char *why = "";
	int err = plan__parse(&plan, buffer__head(&bytes), buffer__pending(&bytes), &why);
	plan__free(&plan);
	buffer__free(&bytes);
	return err;
}

static void what_breaks_the_profile_is_no_plan(void)
{
	for (size_t i = 0; i < sizeof(violations) / sizeof(*violations); i++) {
		const struct violation *violation = &violations[i];
		struct plan plan;
		const char *why = "";
		CHECK_EQ(plan__parse(&plan, (const uint8_t *)violation->bytes, violation->length, &why), -EPROTO);
		if (!strstr(why, violation->words))
			printf("# \"%s\" does not say \"%s\"\n", why, violation->words);
		CHECK(strstr(why, violation->words));
		plan__free(&plan);
	}
}

static void mounts_that_would_leave_their_place_are_refused(void)
{
	static const char *const names[] = {"", ".", "..", "a/b", "a:b", "a,b", "a\\b"};
	static const char *const targets[] = {"", "relative", "/", "//"};

	CHECK_EQ(parse_mount("0", "/src"), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		CHECK_EQ(parse_mount(names[i], "/src"), -EPROTO);
	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++)
		CHECK_EQ(parse_mount("0", targets[i]), -EPROTO);
}

int main(void)
{
	CASE(init_writes_its_events_as_recorded);
	CASE(output_is_framed_as_recorded_however_much_room_there_was);
	CASE(who_was_killed_for_memory_is_read_from_the_kernels_log);
	CASE(no_one_to_tell_is_no_failure);
	CASE(the_smallest_plan);
	CASE(the_largest_plan);
	CASE(a_plan_with_an_authority_to_trust);
	CASE(a_plan_with_a_network);
	CASE(a_plan_with_private_networks);
	CASE(a_plan_with_an_end);
	CASE(broken_plans_are_survived);
	CASE(what_breaks_the_profile_is_no_plan);
	CASE(mounts_that_would_leave_their_place_are_refused);
	return check__done();
}
