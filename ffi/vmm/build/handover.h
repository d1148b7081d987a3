/* The descriptors libcapsa hands to capsa-vmm when it starts it. */
#ifndef CAPSA_VMM_BUILD_HANDOVER_H
#define CAPSA_VMM_BUILD_HANDOVER_H

enum handover {
	HANDOVER_CONTROL = 3, /* the VMM's end of the control channel: a non-blocking stream socket */
	HANDOVER_CONFIG = 4,  /* a memfd with the CBOR configuration; once that is read, LINK_FD (vmm/keeper/link.h) */
	HANDOVER_LISTENERS = 5, /* the listening socket of each private network, in their order */
	HANDOVER_FDS = 9,       /* nothing is open from here on, nor behind the last of those */
};

#endif
