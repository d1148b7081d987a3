/* The part of the VMM's configuration that is about the network: `net-device` of ffi/vmm.cddl. */
#ifndef CAPSA_NET_CONFIG_H
#define CAPSA_NET_CONFIG_H

#include "net/policy.h"
#include "vmm/cbor_map.h"

/* A table of rules: `[* net-rule]`. */
struct config_rules {
	struct policy_rule *at; /* freed by the caller, on failure too; NULL: absent */
	unsigned count;
};

/* `read` of a cbor_field whose member is a struct config_rules. */
__attribute__((warn_unused_result)) int config_rules__read(struct cbor_reader *reader, const CborValue *value,
							   void *member, const char *where);
/* `read` of a cbor_field whose member is an enum policy_protocol: "tcp", "udp" or "icmp". */
__attribute__((warn_unused_result)) int config_protocol__read(struct cbor_reader *reader, const CborValue *value,
							      void *member, const char *where);

/* `read` of a cbor_field whose member is a struct address of that family. */
__attribute__((warn_unused_result)) int config_address__read4(struct cbor_reader *reader, const CborValue *value,
							      void *member, const char *where);
__attribute__((warn_unused_result)) int config_address__read6(struct cbor_reader *reader, const CborValue *value,
							      void *member, const char *where);

/* `read` of a cbor_field whose member is a struct config_net; its rules are freed by the caller, on failure too. */
__attribute__((warn_unused_result)) int config_net__read(struct cbor_reader *reader, const CborValue *value,
							 void *member, const char *where);

#endif
