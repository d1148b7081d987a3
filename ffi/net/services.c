/* A short table, in the order in which it was given. */
#include "net/services.h"

#include <stddef.h>
#include <string.h>

const struct service *services__find(const struct services *services, const struct address *address, uint16_t port)
{
	for (unsigned i = 0; i < services->count; i++)
		if (services->at[i].port == port && address__equal(&services->at[i].address, address))
			return &services->at[i];
	return NULL;
}

const struct address *services__address_of(const struct services *services, const char *name)
{
	for (unsigned i = 0; i < services->count; i++)
		if (strcmp(services->at[i].name, name) == 0)
			return &services->at[i].address;
	return NULL;
}

const char *services__name_of(const struct services *services, const struct address *address)
{
	for (unsigned i = 0; i < services->count; i++)
		if (address__equal(&services->at[i].address, address))
			return services->at[i].name;
	return NULL;
}
