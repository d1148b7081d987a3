/* How a kernel is entered on x86-64. */
#ifndef CAPSA_BOARD_X86_64_ENTRY_H
#define CAPSA_BOARD_X86_64_ENTRY_H

/* board_entry.mode */
enum entry_mode {
	ENTRY_PVH,     /* 32-bit flat, paging off; RBX: start info */
	ENTRY_LINUX64, /* 64-bit at the page tables of LAYOUT_PAGE_TABLES; RSI: boot_params */
};

#endif
