/* Kernels as uncompressed ELF: Linux, entered in 64-bit mode as from a bzImage, and others by their PVH note (Xen's
 * "x86/HVM direct boot ABI"). Linux has that as well, but there it asks 256 CPUID leaves for Xen, an exit each.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "board/x86_64/kernel.h"
#include "board/x86_64/layout.h"

#define MAX_SEGMENTS 64
#define MAX_NOTES 65536      /* bytes of a note segment */
#define NOTE_LINUX_LTO 0x101 /* LINUX_ELFNOTE_LTO_INFO, since 5.12 */
#define NOTE_PVH_ENTRY 18    /* XEN_ELFNOTE_PHYS32_ENTRY */
#define KERNEL_SLACK 65536U  /* ELF says nothing of memory past the last segment that early code takes */

static int elf__refuse(const struct image_file *file, const char *what, struct failure *why)
{
	return failure__set(why, ENOEXEC, "KERNEL_INVALID", "%s is not a usable kernel: %s", file->path, what);
}

static uint64_t align4(uint64_t n)
{
	return (n + 3) & ~3ULL;
}

/* What the notes of a kernel say. */
struct elf_notes {
	uint64_t pvh_entry; /* 0: none */
	bool is_linux;
};

static void notes__read(struct elf_notes *said, const uint8_t *notes, uint64_t len)
{
	uint64_t at = 0;
	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		uint64_t name = align4(note.n_namesz), desc = align4(note.n_descsz);
		if (name > len - at || desc > len - at - name)
			return;
		bool is_entry =
			note.n_type == NOTE_PVH_ENTRY && note.n_namesz == 4 && memcmp(notes + at, "Xen", 4) == 0;
		if (note.n_type == NOTE_LINUX_LTO && note.n_namesz == 6 && memcmp(notes + at, "Linux", 6) == 0)
			said->is_linux = true;
		at += name;
		if (is_entry && said->pvh_entry == 0 && (note.n_descsz == 4 || note.n_descsz == 8))
			memcpy(&said->pvh_entry, notes + at, note.n_descsz);
		at += desc;
	}
}

static int elf__read_notes(const struct image_file *file, const Elf64_Phdr *phdr, struct elf_notes *said,
			   struct failure *why)
{
	uint8_t notes[MAX_NOTES];
	if (phdr->p_filesz > sizeof(notes) || image_file__read(file, phdr->p_offset, notes, phdr->p_filesz) < 0)
		return elf__refuse(file, "its notes lie outside the file", why);
	notes__read(said, notes, phdr->p_filesz);
	return 0;
}

/* The setup header that a bzImage would have brought, as far as a kernel looks at it. */
static void kernel__make_setup(struct image_kernel *kernel)
{
	const struct setup_header header = {.boot_flag = 0xaa55, .header = 0x53726448 /* "HdrS" */, .version = 0x020f};
	memcpy(kernel->setup, &header, sizeof(header));
	kernel->setup_size = sizeof(header);
}

_Static_assert(sizeof(struct setup_header) <= sizeof(((struct image_kernel *)NULL)->setup), "it has room");

static int elf__load_segment(const struct guest_memory *mem, const struct image_file *file, const Elf64_Phdr *phdr,
			     struct image_kernel *kernel, struct failure *why)
{
	if (phdr->p_memsz == 0 && phdr->p_filesz == 0) /* debuggers' segments */
		return 0;
	if (phdr->p_filesz > phdr->p_memsz || phdr->p_paddr < LAYOUT_KERNEL_MIN || phdr->p_memsz > LAYOUT_HOLE ||
	    phdr->p_paddr > LAYOUT_HOLE - phdr->p_memsz)
		return elf__refuse(file, "a segment lies where no kernel goes", why);
	uint64_t end = phdr->p_paddr + phdr->p_memsz;
	if (!guest_memory__at(mem, phdr->p_paddr, phdr->p_memsz))
		return failure__set(why, ENOMEM, NULL,
				    "the kernel %s reaches to %" PRIu64 " MiB; give the machine more memory than that",
				    file->path, (end >> 20) + 1);
	int error = image_file__place(file, phdr->p_offset, mem, phdr->p_paddr, phdr->p_filesz);
	if (error == -ENOEXEC)
		return elf__refuse(file, "a segment lies outside the file", why);
	if (error)
		return failure__set(why, -error, NULL, "cannot read the kernel %s", file->path);
	if (end > kernel->end)
		kernel->end = end;
	return 0;
}

/* Whether the entry lies in a segment that was loaded. */
static bool elf__has_loaded(const Elf64_Phdr *phdrs, unsigned count, uint64_t gpa)
{
	for (unsigned i = 0; i < count; i++)
		if (phdrs[i].p_type == PT_LOAD && gpa >= phdrs[i].p_paddr && gpa - phdrs[i].p_paddr < phdrs[i].p_filesz)
			return true;
	return false;
}

int image_elf__load(const struct guest_memory *mem, const struct image_file *file, struct image_kernel *kernel,
		    struct failure *why)
{
	Elf64_Ehdr header;
	Elf64_Phdr phdrs[MAX_SEGMENTS];
	if (image_file__read(file, 0, &header, sizeof(header)) < 0)
		return elf__refuse(file, "it is cut short", why);
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != EM_X86_64 || header.e_type != ET_EXEC)
		return elf__refuse(file, "its ELF header is not that of an x86-64 kernel", why);
	if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > MAX_SEGMENTS ||
	    image_file__read(file, header.e_phoff, phdrs, header.e_phnum * sizeof(Elf64_Phdr)) < 0)
		return elf__refuse(file, "its program headers make no sense", why);

	struct elf_notes said = {.is_linux = false};
	*kernel = (struct image_kernel){.initrd_max = LAYOUT_HOLE - 1};
	for (unsigned i = 0; i < header.e_phnum; i++) {
		int error = 0;
		if (phdrs[i].p_type == PT_LOAD)
			error = elf__load_segment(mem, file, &phdrs[i], kernel, why);
		else if (phdrs[i].p_type == PT_NOTE)
			error = elf__read_notes(file, &phdrs[i], &said, why);
		if (error)
			return error;
	}
	kernel->end += KERNEL_SLACK;
	kernel->mode = said.is_linux ? ENTRY_LINUX64 : ENTRY_PVH;
	kernel->entry = said.is_linux ? header.e_entry : said.pvh_entry;
	if (kernel->entry == 0)
		return elf__refuse(file, "it has no PVH entry note; build it with CONFIG_PVH=y, or take its bzImage",
				   why);
	if (!elf__has_loaded(phdrs, header.e_phnum, kernel->entry))
		return elf__refuse(file, "its entry lies outside what it loads", why);
	if (said.is_linux)
		kernel__make_setup(kernel);
	return 0;
}
