/* Says by which tables CBOR is read: a line for each field, "map key required|optional type", the type as in CDDL. */
#include <stdio.h>
#include <string.h>

#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "vmm/build/config.h"
#include "vmm/control/channel.h"

extern const struct cbor_table offline_question_table;

static const struct cbor_table *said[64];
static unsigned count;

static void say_table(const struct cbor_table *table);

static void say_number(const struct cbor_field *field, unsigned bits)
{
	const unsigned long long most = field->max ? field->max : UINT64_MAX >> (64 - bits);
	if (!field->min && most == UINT64_MAX)
		printf("uint");
	else
		printf("%llu..%llu", (unsigned long long)field->min, most);
}

static void say_type(const struct cbor_field *field) // NOLINT(misc-no-recursion)
{
	switch (field->kind) {
	case CBOR_TEXT:
	case CBOR_PATH:
	case CBOR_PARSED:
		printf("tstr");
		break;
	case CBOR_CHOICE:
		for (unsigned i = 0; field->words[i]; i++)
			printf("%s\"%s\"", i ? " / " : "", field->words[i]);
		break;
	case CBOR_BOOL:
		printf("bool");
		break;
	case CBOR_U8:
		say_number(field, 8);
		break;
	case CBOR_U16:
		say_number(field, 16);
		break;
	case CBOR_U32:
		say_number(field, 32);
		break;
	case CBOR_U64:
		say_number(field, 64);
		break;
	case CBOR_BYTES:
		printf("bstr");
		break;
	case CBOR_DATA:
		printf("bstr .size %llu", (unsigned long long)field->max);
		break;
	case CBOR_MAP:
	case CBOR_TUPLE:
		printf("%s", field->table->name);
		break;
	case CBOR_LIST:
		printf("[0*%llu ", (unsigned long long)field->max);
		say_type(field->item);
		printf("]");
		break;
	}
}

static void say_table(const struct cbor_table *table) // NOLINT(misc-no-recursion)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(said[i]->name, table->name) == 0)
			return;
	said[count++] = table;
	for (unsigned i = 0; i < table->count; i++) {
		const struct cbor_field *field = &table->fields[i];
		printf("%s %s %s ", table->name, field->key, field->required ? "required" : "optional");
		say_type(field);
		printf("\n");
	}
	for (unsigned i = 0; i < table->count; i++) {
		const struct cbor_field *field = &table->fields[i];
		while (field->kind == CBOR_LIST)
			field = field->item;
		if (field->table)
			say_table(field->table);
	}
}

/* Of a device that was made for it. */
static void say_saved(const struct virtio_device *dev)
{
	say_table(dev->ops->saved);
}

static void say_devices(void)
{
	struct virtio_device *dev;
	if (!virtio_rng__new(&dev))
		say_saved(dev);
	if (!virtio_balloon__new(&dev))
		say_saved(dev);
	if (!virtio_console__new(-1, &dev))
		say_saved(dev);
	if (!virtio_blk__new(&(struct blk_options){.fd = -1, .id = ""}, &dev))
		say_saved(dev);
	if (!virtio_net__new(&(struct virtio_net_options){.mtu = 1500}, &dev))
		say_saved(dev);
	if (!virtio_vsock__new(&(struct vsock_options){.guest_cid = 3}, &dev))
		say_saved(dev);
}

int main(void)
{
	struct cbor_field fields[VMM_CONFIG_FIELDS];
	const struct cbor_table config = {.name = "vmm-config", .fields = fields, .count = vmm_config__fields(fields)};
	say_table(&config);
	say_table(&control_request_table);
	say_table(&offline_question_table);
	say_table(&virtio_mmio_saved);
	say_devices();
	return 0;
}
