/* The KVM engine with guests of a few instructions, one for each behaviour; they run on a slow, software KVM as well.
 */
#include "engine/engine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "capsa.h"
#include "check.h"
#include "os/worker.h"

extern const struct engine_ops engine_kvm;

enum { KERNEL_AT = 0x1000000, MEMORY = 64 << 20, END_MS = 45000 };

/* Guests, entered in flat 32-bit mode at their first byte; each is followed by its end. */
#define GUEST(name, text)                                                                                              \
	extern const uint8_t name[], name##_end[];                                                                     \
	__asm__(".pushsection .rodata\n.code32\n.global " #name ", " #name "_end\n" #name ":\n" text "\n" #name        \
		"_end:\n.code64\n.popsection")

/* An interrupt descriptor table of no entries makes any exception a triple fault. */
GUEST(guest_triple_fault, "mov $0x1100000, %esp\n push $0\n push $0\n lidt (%esp)\n int $3\n");
GUEST(guest_keyboard_reset, "mov $0xfe, %al\n out %al, $0x64\n 1: jmp 1b\n");
GUEST(guest_spins, "1: jmp 1b\n");
GUEST(guest_halts, "1: hlt\n jmp 1b\n");
/* Tells the device's configuration space 0x12345678, then what it reads at the device's first three registers. */
GUEST(guest_talks, "mov $0xd0000000, %edi\n"
		   "movl $0x12345678, 0x100(%edi)\n"
		   "mov (%edi), %eax\n mov %eax, 0x100(%edi)\n"
		   "mov 4(%edi), %eax\n mov %eax, 0x100(%edi)\n"
		   "mov 8(%edi), %eax\n mov %eax, 0x100(%edi)\n"
		   "1: jmp 1b\n");
/* Counts in the device's configuration space, so that a pause can be seen. */
GUEST(guest_counts, "mov $0xd0000000, %edi\n xor %eax, %eax\n"
		    "1: inc %eax\n mov %eax, 0x100(%edi)\n jmp 1b\n");
/* 10,000 writes and reads at random over the device's window, then over ports and addresses where nothing is. */
GUEST(guest_scribbles, "mov $10000, %ecx\n mov $2463534242, %ebx\n"
		       "1: mov %ebx, %eax\n shl $13, %eax\n xor %eax, %ebx\n"
		       "mov %ebx, %eax\n shr $17, %eax\n xor %eax, %ebx\n"
		       "mov %ebx, %eax\n shl $5, %eax\n xor %eax, %ebx\n"
		       "mov %ebx, %edi\n and $0x7ff, %edi\n mov %ebx, %eax\n shr $16, %eax\n"
		       "testl $0x1000, %ebx\n jz 2f\n or %ebx, %eax\n"
		       "2: mov %eax, 0xd0000000(%edi)\n mov %al, 0xd0000070(%edi)\n mov 0xd0000000(%edi), %edx\n"
		       "mov %ecx, %eax\n and $0xff, %eax\n jnz 3f\n"
		       "mov %eax, 0xe0000000(%edi)\n mov 0xc0000000(%edi), %edx\n"
		       "mov %edi, %edx\n or $0x800, %edx\n out %eax, %dx\n in %dx, %eax\n"
		       "3: dec %ecx\n jnz 1b\n"
		       "mov $0xfe, %al\n out %al, $0x64\n 4: jmp 4b\n");

/* 10,000 times writes at random into the rings of queue 0 and kicks; every fourth time sets the queue up anew, as a
 * driver does, over whatever lies in them. */
#define REGISTER(value, at) "movl $" #value ", 0xd0000" #at "\n"
#define RANDOM                                                                                                         \
	"mov %ebx, %eax\n shl $13, %eax\n xor %eax, %ebx\n mov %ebx, %eax\n shr $17, %eax\n xor %eax, %ebx\n"          \
	"mov %ebx, %eax\n shl $5, %eax\n xor %eax, %ebx\n"
/* clang-format off */
GUEST(guest_scribbles_over_rings,
      "mov $10000, %ecx\n mov $2463534242, %ebx\n"
      "1: test $3, %ecx\n jnz 2f\n"
      REGISTER(0, 070) REGISTER(1, 070) REGISTER(3, 070) REGISTER(1, 024) REGISTER(1, 020) REGISTER(11, 070)
      REGISTER(0, 030) REGISTER(8, 038) REGISTER(0x1200000, 080) REGISTER(0x1201000, 090) REGISTER(0x1202000, 0a0)
      REGISTER(1, 044)
      "movl $0x30000, 0x1201000\n movl $0, 0x1202000\n"
      REGISTER(15, 070)
      /* a word of the descriptors: anything, or something small */
      "2:" RANDOM "mov %ebx, %edi\n and $0x7c, %edi\n mov %ebx, %eax\n shr $8, %eax\n"
      "test $0x80, %ebx\n jz 3f\n and $7, %eax\n 3: mov %eax, 0x1200000(%edi)\n"
      /* a whole descriptor that makes sense */
      RANDOM "mov %ebx, %edi\n and $0x70, %edi\n movl $0x1300000, 0x1200000(%edi)\n"
      "movl $0, 0x1200004(%edi)\n movl $64, 0x1200008(%edi)\n movl $2, 0x120000c(%edi)\n"
      /* an entry of the available ring, sometimes past the table, and its index, sometimes far off */
      RANDOM "mov %ebx, %edi\n and $0xe, %edi\n mov %ebx, %eax\n shr $8, %eax\n and $7, %eax\n"
      "test $0xf000, %ebx\n jnz 4f\n or $0x1238, %eax\n 4: mov %ax, 0x1201004(%edi)\n incw 0x1201002\n"
      "test $0x3f0000, %ebx\n jnz 5f\n mov %ebx, 0x1201000\n"
      "5:" REGISTER(0, 050)
      "dec %ecx\n jnz 1b\n mov $0xfe, %al\n out %al, $0x64\n 6: jmp 6b\n");
/* clang-format on */

/* A device that keeps what the guest writes to its configuration space. */
struct listener {
	struct virtio_device dev;
	_Atomic uint32_t last;
	_Atomic unsigned count;
	uint32_t said[4];
	_Atomic unsigned chains;
};

static void listener__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	struct listener *listener = (struct listener *)dev;
	uint32_t value = 0;
	memcpy(&value, from, len < 4 ? len : 4);
	unsigned count = atomic_load(&listener->count);
	if (count < 4)
		listener->said[count] = value;
	(void)offset;
	atomic_store(&listener->last, value);
	atomic_store(&listener->count, count + 1);
}

static void listener__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	(void)dev, (void)offset;
	memset(to, 0, len);
}

static int listener__activate(struct virtio_device *dev)
{
	(void)dev;
	return 0;
}

static void listener__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct virtqueue_chain chain;
	while (virtqueue__pop(&dev->queues[index], &chain) == 1) {
		for (unsigned i = 0; i < chain.writable_count; i++)
			memset(chain.writable[i].iov_base, 0xa5, chain.writable[i].iov_len);
		virtqueue__push(&dev->queues[index], chain.head, (uint32_t)chain.writable_bytes);
		atomic_fetch_add(&((struct listener *)dev)->chains, 1);
	}
	virtqueue__notify(&dev->queues[index]);
}

static void listener__reset(struct virtio_device *dev)
{
	(void)dev;
}

static const struct virtio_device_ops listener_ops = {
	.name = "listener",
	.id = VIRTIO_ID_RNG,
	.num_queues = 2,
	.config_size = 8,
	.read_config = listener__read_config,
	.write_config = listener__write_config,
	.activate = listener__activate,
	.queue_ready = listener__queue_ready,
	.reset = listener__reset,
};

struct rig {
	struct machine_config config;
	struct machine machine;
	struct listener listener;
	struct worker worker;
	char kernel[64];
	bool has_ended;
	enum machine_end end;
	struct failure why;
};

static void on_end(struct machine *machine, enum machine_end end, const struct failure *why)
{
	struct rig *rig = machine->owner;
	rig->has_ended = true;
	rig->end = end;
	if (why)
		rig->why = *why;
	loop__stop(machine->loop);
}

static void write_kernel(struct rig *rig, const uint8_t *code, size_t len)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr load, note;
		Elf64_Nhdr note_header;
		char name[4];
		uint32_t entry;
	} elf = {
		.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			   .e_type = ET_EXEC,
			   .e_machine = EM_X86_64,
			   .e_phoff = sizeof(Elf64_Ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = 2},
		.load = {.p_type = PT_LOAD,
			 .p_offset = sizeof(elf),
			 .p_paddr = KERNEL_AT,
			 .p_filesz = len,
			 .p_memsz = len},
		.note = {.p_type = PT_NOTE, .p_offset = offsetof(__typeof__(elf), note_header), .p_filesz = 20},
		.note_header = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
		.name = "Xen",
		.entry = KERNEL_AT,
	};
	snprintf(rig->kernel, sizeof(rig->kernel), "/tmp/capsa-kvm-guest.XXXXXX");
	int fd = mkostemp(rig->kernel, O_CLOEXEC);
	CHECK(fd >= 0 && write(fd, &elf, sizeof(elf)) == sizeof(elf) && write(fd, code, len) == (ssize_t)len);
	rig->config.kernel = fd;
}

static void set_up(struct rig *rig, const uint8_t *code, const uint8_t *end)
{
	struct capsa_kvm_probe probe;
	CHECK_EQ(capsa_probe_kvm(100, &probe), 0);
	if (probe.state != CAPSA_KVM_OK && probe.state != CAPSA_KVM_SOFTWARE)
		SKIP("there is no /dev/kvm that may be used");
	memset(rig, 0, sizeof(*rig));
	CHECK_EQ(worker__init(&rig->worker, "listener"), 0);
	rig->listener.dev.ops = &listener_ops;
	rig->listener.dev.loop = rig->worker.loop;
	rig->config = (struct machine_config){.name = "test",
					      .kernel_path = rig->kernel,
					      .initrd = -1,
					      .cmdline = "",
					      .runtime_dir = "/tmp",
					      .cpus = 2,
					      .memory = MEMORY};
	write_kernel(rig, code, (size_t)(end - code));
	rig->machine = (struct machine){.config = &rig->config,
					.devices = {{.dev = &rig->listener.dev, .loop = rig->worker.loop}},
					.device_count = 1,
					.console_fd = -1,
					.ended = on_end,
					.owner = rig};
	CHECK_EQ(loop__new(&rig->machine.loop), 0);
}

static void start(struct rig *rig)
{
	CHECK_EQ(engine_kvm.create(&rig->machine, &rig->why), 0);
	CHECK_EQ(worker__start(&rig->worker), 0);
	CHECK_EQ(engine_kvm.start(&rig->machine, &rig->why), 0);
}

static void tear_down(struct rig *rig)
{
	engine_kvm.destroy(&rig->machine);
	worker__end(&rig->worker);
	loop__free(rig->machine.loop);
	close(rig->config.kernel);
	unlink(rig->kernel);
}

static void stop_loop(void *loop)
{
	loop__stop(loop);
}

static void wait_for_end(struct rig *rig, uint64_t ms)
{
	uint64_t timer;
	CHECK_EQ(loop__timer(rig->machine.loop, ms, stop_loop, rig->machine.loop, &timer), 0);
	loop__run(rig->machine.loop);
	loop__timer_cancel(rig->machine.loop, timer);
}

static void wait_for_count(const struct rig *rig, unsigned count)
{
	for (int i = 0; i < END_MS && atomic_load(&rig->listener.count) < count; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	CHECK(atomic_load(&rig->listener.count) >= count);
}

static void ends_with_shutdown(const uint8_t *code, const uint8_t *end)
{
	struct rig rig;
	set_up(&rig, code, end);
	start(&rig);
	wait_for_end(&rig, END_MS);
	CHECK(rig.has_ended);
	CHECK_EQ(rig.end, MACHINE_SHUTDOWN);
	tear_down(&rig);
}

static void a_triple_fault_is_the_end(void)
{
	struct capsa_kvm_probe probe;
	CHECK_EQ(capsa_probe_kvm(100, &probe), 0);
	if (probe.state == CAPSA_KVM_SOFTWARE)
		SKIP("a KVM that emulates instructions knows too few of them");
	ends_with_shutdown(guest_triple_fault, guest_triple_fault_end);
}

static void a_reset_by_the_keyboard_controller_is_the_end(void)
{
	ends_with_shutdown(guest_keyboard_reset, guest_keyboard_reset_end);
}

static void a_guest_that_scribbles_is_survived(void)
{
	ends_with_shutdown(guest_scribbles, guest_scribbles_end);
}

static void a_guest_that_scribbles_over_its_rings_is_survived(void)
{
	struct rig rig;
	set_up(&rig, guest_scribbles_over_rings, guest_scribbles_over_rings_end);
	start(&rig);
	wait_for_end(&rig, END_MS);
	CHECK(rig.has_ended);
	CHECK_EQ(rig.end, MACHINE_SHUTDOWN);
	CHECK(atomic_load(&rig.listener.chains) > 100);
	tear_down(&rig);
}

static void a_guest_reaches_its_device(void)
{
	struct rig rig;
	set_up(&rig, guest_talks, guest_talks_end);
	start(&rig);
	wait_for_count(&rig, 4);
	CHECK_EQ(rig.listener.said[0], 0x12345678);
	CHECK_EQ(rig.listener.said[1], 0x74726976);
	CHECK_EQ(rig.listener.said[2], 2);
	CHECK_EQ(rig.listener.said[3], VIRTIO_ID_RNG);
	tear_down(&rig);
}

static void destroyed_while_it_runs(const uint8_t *code, const uint8_t *end)
{
	struct rig rig;
	set_up(&rig, code, end);
	start(&rig);
	wait_for_end(&rig, 20);
	CHECK(!rig.has_ended);
	tear_down(&rig);
}

static void a_spinning_guest_is_stopped(void)
{
	destroyed_while_it_runs(guest_spins, guest_spins_end);
}

static void a_halted_guest_is_stopped(void)
{
	destroyed_while_it_runs(guest_halts, guest_halts_end);
}

static void a_paused_guest_stands_still(void)
{
	struct rig rig;
	set_up(&rig, guest_counts, guest_counts_end);
	start(&rig);
	wait_for_count(&rig, 1);
	for (int round = 0; round < 5; round++) {
		CHECK_EQ(engine_kvm.pause(&rig.machine), 0);
		unsigned before = atomic_load(&rig.listener.count);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
		CHECK_EQ(atomic_load(&rig.listener.count), before);
		CHECK_EQ(engine_kvm.resume(&rig.machine), 0);
		wait_for_count(&rig, before + 1);
	}
	CHECK_EQ(engine_kvm.pause(&rig.machine), 0);
	tear_down(&rig); /* paused as it is */
}

static void two_machines_run_side_by_side(void)
{
	struct rig one, two;
	set_up(&one, guest_counts, guest_counts_end);
	set_up(&two, guest_counts, guest_counts_end);
	start(&one);
	start(&two);
	wait_for_count(&one, 10);
	wait_for_count(&two, 10);
	tear_down(&one);
	wait_for_count(&two, atomic_load(&two.listener.count) + 10);
	tear_down(&two);
}

static void what_cannot_be_made_is_told_and_left_clean(void)
{
	struct rig rig;
	set_up(&rig, guest_spins, guest_spins_end);
	int kernel = rig.config.kernel, empty = open("/dev/null", O_RDONLY | O_CLOEXEC);
	rig.config.kernel = empty;
	CHECK_EQ(engine_kvm.create(&rig.machine, &rig.why), -EINVAL);
	CHECK(strstr(rig.why.message, rig.kernel));
	rig.config.kernel = kernel;
	rig.config.initrd = empty;
	rig.config.initrd_path = "/dev/null";
	CHECK_EQ(engine_kvm.create(&rig.machine, &rig.why), -EINVAL);
	CHECK(strstr(rig.why.message, "/dev/null"));
	close(empty);
	rig.config.initrd = -1;
	rig.config.memory = 1 << 20;
	CHECK_EQ(engine_kvm.create(&rig.machine, &rig.why), -EINVAL);
	rig.config.memory = MEMORY;
	rig.config.cpus = 100000;
	CHECK_EQ(engine_kvm.create(&rig.machine, &rig.why), -EINVAL);
	rig.config.cpus = 1;
	CHECK_EQ(engine_kvm.create(&rig.machine, &rig.why), 0);
	tear_down(&rig); /* never started */
}

int main(void)
{
	CASE(a_triple_fault_is_the_end);
	CASE(a_reset_by_the_keyboard_controller_is_the_end);
	CASE(a_guest_that_scribbles_is_survived);
	CASE(a_guest_that_scribbles_over_its_rings_is_survived);
	CASE(a_guest_reaches_its_device);
	CASE(a_spinning_guest_is_stopped);
	CASE(a_halted_guest_is_stopped);
	CASE(a_paused_guest_stands_still);
	CASE(two_machines_run_side_by_side);
	CASE(what_cannot_be_made_is_told_and_left_clean);
	return check__done();
}
