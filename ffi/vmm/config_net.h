/* The part of the VMM's configuration that is about the network: `net-device` of ffi/vmm.cddl. */
#ifndef CAPSA_VMM_CONFIG_NET_H
#define CAPSA_VMM_CONFIG_NET_H

#include "vmm/cbor_map.h"

/* `read` of a cbor_field whose member is a struct config_net; its rules are freed by the caller, on failure too. */
__attribute__((warn_unused_result)) int config_net__read(struct cbor_reader *reader, const CborValue *value,
							 void *member, const char *where);

#endif
