/* Which addresses are this machine's own: the kernel is asked, once for the many packets of a flow. */
#include "net/own.h"

#include <errno.h>
#include <stdlib.h>

#include "os/route.h"

#define REMEMBERED 64 /* by the last bits of the address: one takes another's place */
#define FRESH_MS 1000

struct own {
	struct route route;
	struct {
		struct address address;
		uint64_t until; /* milliseconds; 0: none */
		bool own;
	} known[REMEMBERED];
};

static int ask(struct own *own, const struct address *address)
{
	bool is4 = address__is4(address);
	return route__is_local(&own->route, is4 ? AF_INET : AF_INET6, address->bytes + (is4 ? 12 : 0));
}

int own__new(struct own **out)
{
	static const uint8_t loopback[4] = {127, 0, 0, 1}; /* which each machine has: whether that is said */
	const struct address known = address__from4(loopback);
	struct own *own = calloc(1, sizeof(*own));
	if (!own)
		return -ENOMEM;
	int err = route__open(&own->route);
	int answer = err ? err : ask(own, &known);
	if (answer < 0) {
		own__free(own);
		return answer;
	}
	*out = own;
	return 0;
}

void own__free(struct own *own)
{
	if (!own)
		return;
	route__close(&own->route);
	free(own);
}

bool own__holds(void *arg, const struct address *address, bool fresh, uint64_t now)
{
	struct own *own = arg;
	unsigned place = (address->bytes[15] ^ address->bytes[14]) % REMEMBERED;
	if (fresh || own->known[place].until <= now || !address__equal(&own->known[place].address, address)) {
		own->known[place].address = *address;
		own->known[place].own = ask(own, address) != 0;
		own->known[place].until = now + FRESH_MS;
	}
	return own->known[place].own;
}
