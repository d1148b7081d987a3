/* What a guest may talk to: rules in order, and the addresses that names have led to. */
#include "net/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEARNED_MAX 1024 /* the one unused for longest makes room */
#define LIFE_MIN_MS 300000
#define LIFE_MAX_S 86400

struct learned {
	struct address address;
	uint64_t life, until; /* milliseconds */
	char name[POLICY_NAME_MAX + 1];
};

struct policy {
	const struct policy_rule *rules;
	unsigned rule_count;
	bool otherwise;
	unsigned learned_count;
	struct learned learned[LEARNED_MAX];
};

int policy__new(const struct policy_rule *rules, unsigned count, bool otherwise, struct policy **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->rules = rules;
	(*out)->rule_count = count;
	(*out)->otherwise = otherwise;
	return 0;
}

void policy__free(struct policy *policy)
{
	free(policy);
}

static bool name_matches(const char *pattern, const char *name)
{
	if (strcmp(pattern, "*") == 0 || strcmp(pattern, name) == 0)
		return true;
	size_t tail = strlen(pattern), len = strlen(name);
	/* "*.example.org": the dot belongs to what has to be at the end, so that it is never the domain itself */
	return strncmp(pattern, "*.", 2) == 0 && len > tail - 1 && strcmp(name + len - (tail - 1), pattern + 1) == 0;
}

/* Whether a name that the rule is for has led to the address; if so, it is in use. */
static bool led_by_name(struct policy *policy, const struct policy_rule *rule, const struct address *address,
			uint64_t now)
{
	for (unsigned i = 0; i < policy->learned_count; i++) {
		struct learned *l = &policy->learned[i];
		if (l->until < now || !address__equal(&l->address, address) || !name_matches(rule->name, l->name))
			continue;
		l->until = now + l->life;
		return true;
	}
	return false;
}

const char *policy__refuses(struct policy *policy, enum policy_protocol protocol, const struct address *to,
			    uint16_t port, uint64_t now)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		if ((rule->protocol != POLICY_ANY && rule->protocol != protocol) || port < rule->first_port ||
		    port > rule->last_port)
			continue;
		if (!(rule->name ? led_by_name(policy, rule, to, now) : network__holds(&rule->network, to)))
			continue;
		return rule->allow ? NULL : rule->why ? rule->why : "a rule denies it";
	}
	return policy->otherwise ? NULL : "no rule allows it";
}

static bool is_whole(const struct policy_rule *rule)
{
	return rule->protocol == POLICY_ANY && rule->first_port == 0 && rule->last_port == UINT16_MAX;
}

bool policy__may_ask(const struct policy *policy, const char *name)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		/* a name of which some ports are denied may be asked for: it is its addresses that are not reached */
		if (rule->name && name_matches(rule->name, name) && (rule->allow || is_whole(rule)))
			return rule->allow;
	}
	return policy->otherwise;
}

/* Whether anything at the address is allowed by rules about addresses. */
static bool allowed_as_address(const struct policy *policy, const struct address *address)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		if (!rule->name && network__holds(&rule->network, address) && (rule->allow || is_whole(rule)))
			return rule->allow;
	}
	return policy->otherwise;
}

/* Where to keep this pair: where it is already, in a fresh place, or in the place of what has the least time left. */
static struct learned *place_for(struct policy *policy, const char *name, const struct address *address)
{
	struct learned *oldest = &policy->learned[0];
	for (unsigned i = 0; i < policy->learned_count; i++) {
		struct learned *l = &policy->learned[i];
		if (address__equal(&l->address, address) && strcmp(l->name, name) == 0)
			return l;
		if (l->until < oldest->until)
			oldest = l;
	}
	return policy->learned_count < LEARNED_MAX ? &policy->learned[policy->learned_count++] : oldest;
}

bool policy__learn(struct policy *policy, const char *name, const struct address *address, uint32_t ttl, uint64_t now)
{
	if (strlen(name) > POLICY_NAME_MAX || address__is_local(address) ||
	    (address__is_inside(address) && !allowed_as_address(policy, address)))
		return false;
	struct learned *l = place_for(policy, name, address);
	l->address = *address;
	memcpy(l->name, name, strlen(name) + 1);
	l->life = (ttl < LIFE_MAX_S ? ttl : LIFE_MAX_S) * 1000ULL;
	if (l->life < LIFE_MIN_MS)
		l->life = LIFE_MIN_MS;
	l->until = now + l->life;
	return true;
}

const char *policy__name_of(const struct policy *policy, const struct address *address)
{
	const struct learned *latest = NULL;
	for (unsigned i = 0; i < policy->learned_count; i++) {
		const struct learned *l = &policy->learned[i];
		if (address__equal(&l->address, address) && (!latest || l->until > latest->until))
			latest = l;
	}
	return latest ? latest->name : NULL;
}
