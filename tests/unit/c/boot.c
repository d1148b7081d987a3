/* Loading kernels: what ends up where in guest memory, and files that lie about themselves. */
#include "board/board.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "board/x86_64/entry.h"
#include "board/x86_64/layout.h"
#include "check.h"

enum { MEMORY = 64 << 20, KERNEL_AT = 0x1000000 };

static struct {
	struct guest_memory mem;
	struct board_entry entry;
	struct failure why;
	unsigned cpus;
	const char *cmdline;
	int initrd;
} rig;

static void set_up(void)
{
	memset(&rig, 0, sizeof(rig));
	CHECK_EQ(board__split(MEMORY, &rig.mem, &rig.why), 0);
	rig.mem.regions[0].host =
		mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(rig.mem.regions[0].host != MAP_FAILED);
	rig.cpus = 2;
	rig.cmdline = "quiet";
	rig.initrd = -1;
}

static void tear_down(void)
{
	munmap(rig.mem.regions[0].host, MEMORY);
}

static const uint8_t *at(uint64_t gpa)
{
	return rig.mem.regions[0].host + gpa;
}

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	return fd;
}

static int load(const void *bytes, size_t len)
{
	struct board_request request = {.kernel = file_of(bytes, len),
					.initrd = rig.initrd,
					.kernel_path = "vmlinux",
					.initrd_path = "initrd",
					.cmdline = rig.cmdline,
					.cpus = rig.cpus,
					.device_count = 2,
					.has_serial = true};
	int error = board__load(&rig.mem, &request, &rig.entry, &rig.why);
	close(request.kernel);
	return error;
}

/* A kernel of one segment and one note. */
struct elf {
	Elf64_Ehdr header;
	Elf64_Phdr load, note;
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint32_t entry;
	} notes;
	uint8_t code[256];
};

static struct elf good_elf(void)
{
	struct elf elf = {
		.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			   .e_type = ET_EXEC,
			   .e_machine = EM_X86_64,
			   .e_phoff = offsetof(struct elf, load),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = 2},
		.load = {.p_type = PT_LOAD,
			 .p_offset = offsetof(struct elf, code),
			 .p_paddr = KERNEL_AT,
			 .p_filesz = sizeof(elf.code),
			 .p_memsz = 8192},
		.note = {.p_type = PT_NOTE, .p_offset = offsetof(struct elf, notes), .p_filesz = sizeof(elf.notes)},
		.notes = {.header = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
			  .name = "Xen",
			  .entry = KERNEL_AT + 16},
	};
	memset(elf.code, 0xc3, sizeof(elf.code));
	return elf;
}

static void an_elf_kernel_is_entered_by_its_note(void)
{
	struct elf elf = good_elf();
	set_up();
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	CHECK_EQ(rig.entry.mode, ENTRY_PVH);
	CHECK_EQ(rig.entry.pc, KERNEL_AT + 16);
	CHECK_EQ(at(KERNEL_AT)[255], 0xc3);
	CHECK_EQ(at(KERNEL_AT)[256], 0);
	CHECK_STR((const char *)at(LAYOUT_CMDLINE), "quiet");
	uint32_t magic, modules, entries;
	uint64_t map, e820[2];
	memcpy(&magic, at(rig.entry.argument), 4);
	memcpy(&modules, at(rig.entry.argument + 12), 4);
	memcpy(&map, at(rig.entry.argument + 40), 8);
	memcpy(&entries, at(rig.entry.argument + 48), 4);
	CHECK_EQ(magic, 0x336ec578);
	CHECK_EQ(modules, 0);
	CHECK_EQ(entries, 2);
	memcpy(e820, at(map + 24), 16);
	CHECK_EQ(e820[0], 1 << 20);
	CHECK_EQ(e820[1], MEMORY - (1 << 20));
	tear_down();
}

static void linux_is_entered_in_64_bit_mode(void)
{
	/* its own note in front of Xen's, as in a vmlinux */
	struct {
		struct elf elf;
		Elf64_Nhdr linux_note;
		char name[8];
		uint32_t lto;
		Elf64_Nhdr xen;
		char owner[4];
		uint32_t pvh;
	} file = {.elf = good_elf(),
		  .linux_note = {.n_namesz = 6, .n_descsz = 4, .n_type = 0x101},
		  .name = "Linux",
		  .xen = {.n_namesz = 4, .n_descsz = 4, .n_type = 18},
		  .owner = "Xen",
		  .pvh = KERNEL_AT + 16};
	file.elf.header.e_entry = KERNEL_AT + 32;
	file.elf.note.p_offset = offsetof(__typeof__(file), linux_note);
	file.elf.note.p_filesz = sizeof(file) - file.elf.note.p_offset;
	set_up();
	CHECK_EQ(load(&file, sizeof(file)), 0);
	CHECK_EQ(rig.entry.mode, ENTRY_LINUX64);
	CHECK_EQ(rig.entry.pc, KERNEL_AT + 32);
	struct boot_params params;
	memcpy(&params, at(rig.entry.argument), sizeof(params));
	CHECK_EQ(params.hdr.boot_flag, 0xaa55);
	CHECK_EQ(params.hdr.header, 0x53726448);
	CHECK_EQ(params.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	CHECK_EQ(params.e820_entries, 2);
	tear_down();

	file.elf.header.e_entry = KERNEL_AT + 4096; /* in what is zeroed, not loaded */
	set_up();
	CHECK_EQ(load(&file, sizeof(file)), -ENOEXEC);
	tear_down();
}

static void an_initrd_lies_at_the_top_of_memory(void)
{
	struct elf elf = good_elf();
	set_up();
	char initrd[5000];
	memset(initrd, 'i', sizeof(initrd));
	rig.initrd = file_of(initrd, sizeof(initrd));
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	uint64_t list, module[2];
	memcpy(&list, at(rig.entry.argument + 16), 8);
	memcpy(module, at(list), 16);
	CHECK_EQ(module[0], MEMORY - 8192);
	CHECK_EQ(module[1], sizeof(initrd));
	CHECK_EQ(at(module[0])[4999], 'i');
	CHECK_EQ(at(module[0])[5000], 0);
	close(rig.initrd);
	tear_down();
}

static void an_initrd_that_does_not_fit_is_refused(void)
{
	struct elf elf = good_elf();
	set_up();
	rig.initrd = memfd_create("initrd", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(rig.initrd, MEMORY - KERNEL_AT - 4096), 0);
	CHECK_EQ(load(&elf, sizeof(elf)), -ENOMEM);
	CHECK(strstr(rig.why.message, "initrd"));
	close(rig.initrd);
	tear_down();
}

#define REFUSED(error, change)                                                                                         \
	do {                                                                                                           \
		struct elf elf = good_elf();                                                                           \
		change;                                                                                                \
		CHECK_EQ(load(&elf, sizeof(elf)), -(error));                                                           \
		CHECK(rig.why.message[0]);                                                                             \
	} while (0)

static void elf_files_that_lie_are_refused(void)
{
	set_up();
	REFUSED(ENOEXEC, elf.header.e_machine = EM_AARCH64);
	REFUSED(ENOEXEC, elf.header.e_ident[EI_CLASS] = ELFCLASS32);
	REFUSED(ENOEXEC, elf.header.e_phnum = 0);
	REFUSED(ENOEXEC, elf.header.e_phnum = 65535);
	REFUSED(ENOEXEC, elf.header.e_phoff = UINT64_MAX - 8);
	REFUSED(ENOEXEC, elf.header.e_phentsize = 8);
	REFUSED(ENOEXEC, elf.load.p_offset = UINT64_MAX - 8);
	REFUSED(ENOEXEC, elf.load.p_offset = 600);
	REFUSED(ENOEXEC, elf.load.p_filesz = 8193);
	REFUSED(ENOEXEC, elf.load.p_paddr = 0);
	REFUSED(ENOEXEC, elf.load.p_paddr = LAYOUT_HOLE - 4096);
	REFUSED(ENOEXEC, elf.load.p_paddr = UINT64_MAX - 4096);
	REFUSED(ENOEXEC, elf.load.p_memsz = UINT64_MAX);
	REFUSED(ENOEXEC, elf.load.p_memsz = 0);
	REFUSED(ENOMEM, elf.load.p_memsz = MEMORY);
	REFUSED(ENOEXEC, elf.note.p_filesz = UINT64_MAX);
	REFUSED(ENOEXEC, elf.note.p_type = PT_NULL);
	REFUSED(ENOEXEC, elf.notes.header.n_namesz = UINT32_MAX);
	REFUSED(ENOEXEC, elf.notes.header.n_descsz = UINT32_MAX);
	REFUSED(ENOEXEC, elf.notes.header.n_descsz = 0);
	REFUSED(ENOEXEC, elf.notes.entry = KERNEL_AT + 256);
	REFUSED(ENOEXEC, elf.notes.entry = KERNEL_AT - 1);
	tear_down();
}

static void requests_that_make_no_sense_are_refused(void)
{
	struct elf elf = good_elf();
	char cmdline[LAYOUT_CMDLINE_MAX + 2] = {0};
	set_up();
	rig.cpus = 0;
	CHECK_EQ(load(&elf, sizeof(elf)), -EINVAL);
	rig.cpus = LAYOUT_CPUS_MAX + 1;
	CHECK_EQ(load(&elf, sizeof(elf)), -EINVAL);
	rig.cpus = LAYOUT_CPUS_MAX;
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	memset(cmdline, 'c', LAYOUT_CMDLINE_MAX + 1);
	rig.cmdline = cmdline;
	CHECK_EQ(load(&elf, sizeof(elf)), -E2BIG);
	cmdline[LAYOUT_CMDLINE_MAX] = 0;
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	CHECK_EQ(load(&elf, 10), -ENOEXEC);
	CHECK_EQ(load("", 0), -EINVAL);
	tear_down();
}

/* A bzImage of one sector of set-up code and one of kernel. */
struct bzimage {
	uint8_t bytes[0x400 + 0x400];
};

static struct bzimage good_bzimage(void)
{
	struct bzimage image = {{0}};
	struct setup_header header = {.setup_sects = 1,
				      .boot_flag = 0xaa55,
				      .header = 0x53726448,
				      .version = 0x020f,
				      .jump = 0x66 << 8 | 0xeb,
				      .initrd_addr_max = 0x7fffffff,
				      .xloadflags = XLF_KERNEL_64,
				      .pref_address = KERNEL_AT,
				      .init_size = 0x10000};
	memcpy(image.bytes + 0x1f1, &header, sizeof(header));
	memset(image.bytes + 0x400, 0xcc, 0x400);
	return image;
}

static void a_bzimage_is_entered_in_64_bit_mode(void)
{
	struct bzimage image = good_bzimage();
	set_up();
	rig.initrd = file_of("initrd", 6);
	CHECK_EQ(load(&image, sizeof(image)), 0);
	CHECK_EQ(rig.entry.mode, ENTRY_LINUX64);
	CHECK_EQ(rig.entry.pc, KERNEL_AT + 0x200);
	CHECK_EQ(at(KERNEL_AT)[0], 0xcc);
	struct boot_params params;
	memcpy(&params, at(rig.entry.argument), sizeof(params));
	CHECK_EQ(params.hdr.header, 0x53726448);
	CHECK_EQ(params.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	CHECK_EQ(params.hdr.ramdisk_image, MEMORY - 4096);
	CHECK_EQ(params.hdr.ramdisk_size, 6);
	CHECK_EQ(params.e820_entries, 2);
	uint64_t pml4;
	memcpy(&pml4, at(LAYOUT_PAGE_TABLES), 8);
	CHECK_EQ(pml4, (LAYOUT_PAGE_TABLES + 0x1000) | 3);
	close(rig.initrd);
	tear_down();
}

static void change_header(struct bzimage *image, size_t offset, uint64_t value, size_t len)
{
	memcpy(image->bytes + 0x1f1 + offset, &value, len);
}

static void bzimages_that_lie_are_refused(void)
{
	static const struct {
		size_t offset, len;
		uint64_t value;
		int error;
	} lies[] = {
		{offsetof(struct setup_header, boot_flag), 2, 0, ENOEXEC},
		{offsetof(struct setup_header, header), 4, 0, ENOEXEC},
		{offsetof(struct setup_header, version), 2, 0x0203, ENOEXEC},
		{offsetof(struct setup_header, xloadflags), 2, 0, ENOEXEC},
		{offsetof(struct setup_header, setup_sects), 1, 255, ENOEXEC},
		{offsetof(struct setup_header, setup_sects), 1, 3, ENOEXEC},
		{offsetof(struct setup_header, pref_address), 8, 0, ENOEXEC},
		{offsetof(struct setup_header, pref_address), 8, UINT64_MAX, ENOEXEC},
		{offsetof(struct setup_header, pref_address), 8, LAYOUT_HOLE, ENOEXEC},
		{offsetof(struct setup_header, pref_address), 8, LAYOUT_HIGH, ENOEXEC},
		{offsetof(struct setup_header, init_size), 4, UINT32_MAX, ENOEXEC},
		{offsetof(struct setup_header, init_size), 4, MEMORY, ENOMEM},
	};
	set_up();
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct bzimage image = good_bzimage();
		change_header(&image, lies[i].offset, lies[i].value, lies[i].len);
		CHECK_EQ(load(&image, sizeof(image)), -lies[i].error);
	}
	struct bzimage image = good_bzimage();
	CHECK_EQ(load(&image, 0x230), -ENOEXEC);
	tear_down();
}

static unsigned sum(const uint8_t *bytes, size_t len)
{
	unsigned total = 0;
	for (size_t i = 0; i < len; i++)
		total += bytes[i];
	return total & 0xff;
}

static void the_mp_table_lists_every_cpu(void)
{
	struct elf elf = good_elf();
	set_up();
	rig.cpus = 254;
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	const uint8_t *pointer = at(LAYOUT_MP_TABLE);
	uint32_t table;
	uint16_t length, entries;
	CHECK_EQ(memcmp(pointer, "_MP_", 4), 0);
	CHECK_EQ(sum(pointer, 16), 0);
	memcpy(&table, pointer + 4, 4);
	CHECK_EQ(memcmp(at(table), "PCMP", 4), 0);
	memcpy(&length, at(table) + 4, 2);
	memcpy(&entries, at(table) + 34, 2);
	CHECK_EQ(sum(at(table), length), 0);
	CHECK_EQ(entries, 254 + 1 + 1 + 3 + 2); /* 3: the serial port and two devices */
	for (unsigned i = 0; i < rig.cpus; i++) {
		const uint8_t *cpu = at(table) + 44 + (size_t)i * 20;
		CHECK_EQ(cpu[0], 0);
		CHECK_EQ(cpu[1], i);
		CHECK_EQ(cpu[3], i ? 1 : 3);
	}
	tear_down();
}

static const uint8_t *table_of(const char *signature, uint32_t *length)
{
	uint64_t xsdt, tables[2];
	CHECK_EQ(memcmp(at(LAYOUT_ACPI), "RSD PTR ", 8), 0);
	CHECK_EQ(sum(at(LAYOUT_ACPI), 20), 0);
	CHECK_EQ(sum(at(LAYOUT_ACPI), 36), 0);
	memcpy(&xsdt, at(LAYOUT_ACPI + 24), 8);
	memcpy(tables, at(xsdt + 36), 16);
	for (int i = 0; i < 2; i++) {
		memcpy(length, at(tables[i] + 4), 4);
		CHECK_EQ(sum(at(tables[i]), *length), 0);
		if (memcmp(at(tables[i]), signature, 4) == 0)
			return at(tables[i]);
	}
	CHECK(false);
	return NULL;
}

static void acpi_tables_list_cpus_and_devices(void)
{
	struct elf elf = good_elf();
	set_up();
	rig.cpus = 254;
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	uint64_t root, dsdt;
	uint32_t length;
	memcpy(&root, at(rig.entry.argument + 32), 8);
	CHECK_EQ(root, LAYOUT_ACPI);
	const uint8_t *madt = table_of("APIC", &length);
	CHECK_EQ(length, 44 + 254 * 8 + 12);
	CHECK_EQ(madt[44 + 253 * 8 + 3], 253);
	const uint8_t *fadt = table_of("FACP", &length);
	CHECK_EQ(length, 276);
	memcpy(&dsdt, fadt + 140, 8);
	memcpy(&length, at(dsdt + 4), 4);
	CHECK_EQ(sum(at(dsdt), length), 0);
	CHECK(memmem(at(dsdt), length, "LNRO0005", 8) != NULL);
	CHECK(memmem(at(dsdt), length, "V001", 4) != NULL);
	CHECK(memmem(at(dsdt), length, "V002", 4) == NULL);
	CHECK(memmem(at(dsdt), length, "COM1", 4) != NULL);
	/* the tables end before the next thing begins */
	CHECK_EQ(memcmp(at(LAYOUT_MP_TABLE), "_MP_", 4), 0);
	tear_down();
}

/* In real mode from there: the keyboard controller's reset, and then no more. */
static void what_jumps_to_the_bios_resets_the_machine(void)
{
	static const uint8_t code[] = {0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd};
	struct elf elf = good_elf();
	set_up();
	rig.cpus = 254;
	CHECK_EQ(load(&elf, sizeof(elf)), 0);
	CHECK_EQ(memcmp(at(0xffff0), code, sizeof(code)), 0);
	tear_down();
}

static void memory_goes_around_the_hole(void)
{
	struct guest_memory mem;
	struct layout_e820 e820[LAYOUT_E820_MAX];
	struct failure why;
	CHECK_EQ(board__split(512ULL << 20, &mem, &why), 0);
	CHECK_EQ(mem.count, 1);
	CHECK_EQ(board__split(LAYOUT_HOLE, &mem, &why), 0);
	CHECK_EQ(mem.count, 1);
	CHECK_EQ(mem.regions[0].size, LAYOUT_HOLE);
	CHECK_EQ(board__split(LAYOUT_HOLE + 4096, &mem, &why), 0);
	CHECK_EQ(mem.count, 2);
	CHECK_EQ(mem.regions[1].gpa, 4ULL << 30);
	CHECK_EQ(mem.regions[1].size, 4096);
	CHECK_EQ(board__split(300ULL << 30, &mem, &why), 0);
	CHECK_EQ(layout__e820(&mem, e820), 3);
	CHECK_EQ(e820[1].addr + e820[1].size, 3ULL << 30);
	CHECK_EQ(e820[2].addr + e820[2].size, 301ULL << 30);
	CHECK_EQ(board__split(BOARD_MEMORY_MIN - 4096, &mem, &why), -EINVAL);
	CHECK_EQ(board__split(BOARD_MEMORY_MAX + 4096, &mem, &why), -EINVAL);
	CHECK_EQ(board__split(BOARD_MEMORY_MIN + 1, &mem, &why), -EINVAL);
}

int main(void)
{
	CASE(an_elf_kernel_is_entered_by_its_note);
	CASE(linux_is_entered_in_64_bit_mode);
	CASE(an_initrd_lies_at_the_top_of_memory);
	CASE(an_initrd_that_does_not_fit_is_refused);
	CASE(elf_files_that_lie_are_refused);
	CASE(requests_that_make_no_sense_are_refused);
	CASE(a_bzimage_is_entered_in_64_bit_mode);
	CASE(bzimages_that_lie_are_refused);
	CASE(the_mp_table_lists_every_cpu);
	CASE(acpi_tables_list_cpus_and_devices);
	CASE(what_jumps_to_the_bios_resets_the_machine);
	CASE(memory_goes_around_the_hole);
	return check__done();
}
