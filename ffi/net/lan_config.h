/* The part of the VMM's configuration that is about private networks: `lan-device` of ffi/vmm.cddl. */
#ifndef CAPSA_NET_LAN_CONFIG_H
#define CAPSA_NET_LAN_CONFIG_H

#include "vmm/cbor_map.h"

/* `read` of a cbor_field whose member is the struct vmm_config itself. */
__attribute__((warn_unused_result)) int config_lans__read(struct cbor_reader *reader, const CborValue *value,
							  void *member, const char *where);

#endif
