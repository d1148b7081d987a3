/* Intel 82093AA in as many pins as are used. */
#include "board/x86_64/ioapic.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SELECT = 0x00, WINDOW = 0x10 };
enum { ID = 0, VERSION = 1, ARBITRATION = 2, PINS = 0x10 }; /* what SELECT selects; two words a pin */

#define VERSION_11 0x11U
#define ID_BITS 0x0f000000U
#define PIN_STATE 0x5000U /* delivery status, remote IRR: told by the device, and never set for edges */
#define PIN_MASKED 0x10000U
#define MSI_BASE 0xfee00000U

struct ioapic {
	void (*route)(void *arg, const struct board_route *routes, unsigned count);
	void *arg;
	unsigned pins;
	pthread_mutex_t lock; /* over what follows */
	uint32_t id;
	uint8_t select;
	uint64_t pin[IOAPIC_PINS_MAX];
};

int ioapic__new(unsigned pins, void (*route)(void *arg, const struct board_route *routes, unsigned count), void *arg,
		struct ioapic **out)
{
	if (pins > IOAPIC_PINS_MAX)
		return -EINVAL;
	struct ioapic *ioapic = calloc(1, sizeof(*ioapic));
	if (!ioapic)
		return -ENOMEM;
	ioapic->route = route;
	ioapic->arg = arg;
	ioapic->pins = pins;
	for (unsigned i = 0; i < pins; i++)
		ioapic->pin[i] = PIN_MASKED;
	pthread_mutex_init(&ioapic->lock, NULL);
	*out = ioapic;
	return 0;
}

void ioapic__free(struct ioapic *ioapic)
{
	if (!ioapic)
		return;
	pthread_mutex_destroy(&ioapic->lock);
	free(ioapic);
}

/* Each pin that is not masked is a message to a local APIC. All are edges: no device here has a line that stays up. */
static void ioapic__route(const struct ioapic *ioapic)
{
	struct board_route routes[IOAPIC_PINS_MAX];
	unsigned count = 0;
	for (unsigned i = 0; i < ioapic->pins; i++) {
		const uint64_t pin = ioapic->pin[i];
		if (pin & PIN_MASKED)
			continue;
		const uint32_t destination = pin >> 56, logical = pin >> 11 & 1, vector = pin & 0xff;
		const uint32_t delivery = pin >> 8 & 7;
		routes[count++] = (struct board_route){.irq = i,
						       .address = MSI_BASE | destination << 12 | logical << 2,
						       .data = vector | delivery << 8};
	}
	ioapic->route(ioapic->arg, routes, count);
}

static void ioapic__write(struct ioapic *ioapic, uint32_t value)
{
	const unsigned index = (ioapic->select - PINS) / 2U;
	if (ioapic->select == ID)
		ioapic->id = value & ID_BITS;
	if (ioapic->select < PINS || index >= ioapic->pins)
		return;
	uint64_t *pin = &ioapic->pin[index];
	const uint64_t before = *pin;
	if (ioapic->select & 1)
		*pin = (uint32_t)before | (uint64_t)value << 32;
	else
		*pin = (before & ~0xffffffffULL) | (value & ~PIN_STATE & 0x1ffff);
	if (*pin != before && (before & *pin & PIN_MASKED) == 0)
		ioapic__route(ioapic);
}

static uint32_t ioapic__read(const struct ioapic *ioapic)
{
	const unsigned index = (ioapic->select - PINS) / 2U;
	if (ioapic->select == ID || ioapic->select == ARBITRATION)
		return ioapic->id;
	if (ioapic->select == VERSION)
		return VERSION_11 | (ioapic->pins - 1) << 16;
	if (ioapic->select < PINS || index >= ioapic->pins)
		return 0;
	return (uint32_t)(ioapic->pin[index] >> (ioapic->select & 1 ? 32 : 0));
}

void ioapic__access(struct ioapic *ioapic, uint64_t offset, uint8_t *data, unsigned len, bool is_write)
{
	uint32_t value = 0;
	const size_t size = len < sizeof(value) ? len : sizeof(value);
	pthread_mutex_lock(&ioapic->lock);
	if (is_write) {
		memcpy(&value, data, size);
		if (offset == SELECT)
			ioapic->select = (uint8_t)value;
		else if (offset == WINDOW)
			ioapic__write(ioapic, value);
	} else {
		if (offset == SELECT)
			value = ioapic->select;
		else if (offset == WINDOW)
			value = ioapic__read(ioapic);
		memset(data, 0, len);
		memcpy(data, &value, size);
	}
	pthread_mutex_unlock(&ioapic->lock);
}
