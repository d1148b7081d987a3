/* The vhost-user wire format: numbers and structs of QEMU's docs/interop/vhost-user, native byte order. */
#ifndef CAPSA_ENGINE_VHOST_USER_PROTOCOL_H
#define CAPSA_ENGINE_VHOST_USER_PROTOCOL_H

#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
};

#define VHOST_USER_F_PROTOCOL_FEATURES (1ULL << 30) /* a feature bit */

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
};

enum vhost_user_flags {
	VHOST_USER_VERSION = 1, /* of the low two bits */
	VHOST_USER_VERSION_MASK = 3,
	VHOST_USER_REPLY = 1 << 2,
	VHOST_USER_NEED_REPLY = 1 << 3,
};

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload, bytes */
};

#define VHOST_USER_MAX_REGIONS 8
#define VHOST_USER_MAX_CONFIG 256
#define VHOST_USER_NO_FD (1U << 8) /* in the payload of KICK, CALL and ERR; the low byte is the ring's index */

struct vhost_user_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t user; /* the front end's address of it */
	uint64_t mmap_offset;
};

struct vhost_user_memory {
	uint32_t count;
	uint32_t padding;
	struct vhost_user_region regions[VHOST_USER_MAX_REGIONS];
};

struct vhost_user_vring {
	uint32_t index;
	uint32_t num;
};

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc, used, avail; /* in the front end's space */
	uint64_t log;
};

struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t region[VHOST_USER_MAX_CONFIG];
};

union vhost_user_payload {
	uint64_t u64;
	struct vhost_user_memory memory;
	struct vhost_user_vring vring;
	struct vhost_user_vring_addr addr;
	struct vhost_user_config config;
};

#endif
