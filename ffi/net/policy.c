/* What a guest may talk to: rules in order, and the addresses that names have led to. */
#include "net/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEARNED_MAX 1024    /* the one unused for longest makes room */
#define LIFE_MIN_MS 3600000 /* programs look a name up once and keep its address */
#define LIFE_MAX_S 86400

struct learned {
	struct address address;
	uint64_t answered, life, until; /* milliseconds */
	char name[POLICY_NAME_MAX + 1];
};

struct policy {
	struct policy_own own;
	struct policy_rule *rules; /* one block, with their texts behind them */
	unsigned rule_count;
	struct policy_rule otherwise;
	unsigned learned_count;
	struct learned learned[LEARNED_MAX];
};

/* The rules in force */

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(const char *text, char **to)
{
	size_t size = text_size(text);
	const char *copy = size ? memcpy(*to, text, size) : NULL;
	*to += size;
	return copy;
}

/* NULL without memory. */
static struct policy_rule *copy_rules(const struct policy_rule *rules, unsigned count)
{
	size_t size = count * sizeof(*rules) + 1; /* of none, too, there is a copy */
	for (unsigned i = 0; i < count; i++)
		size += text_size(rules[i].name) + text_size(rules[i].why) + text_size(rules[i].text);
	struct policy_rule *copy = malloc(size);
	char *texts = (char *)(copy + count);
	for (unsigned i = 0; copy && i < count; i++) {
		copy[i] = rules[i];
		copy[i].name = copy_text(rules[i].name, &texts);
		copy[i].why = copy_text(rules[i].why, &texts);
		copy[i].text = copy_text(rules[i].text, &texts);
	}
	return copy;
}

static int set_rules(struct policy *policy, const struct policy_rule *rules, unsigned count, bool otherwise)
{
	struct policy_rule *copy = copy_rules(rules, count);
	if (!copy)
		return -ENOMEM;
	free(policy->rules);
	policy->rules = copy;
	policy->rule_count = count;
	policy->otherwise =
		(struct policy_rule){.allow = otherwise, .last_port = UINT16_MAX, .why = "no rule allows it"};
	return 0;
}

int policy__new(const struct policy_rule *rules, unsigned count, bool otherwise, const struct policy_own *own,
		struct policy **out)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	if (!policy || set_rules(policy, rules, count, otherwise)) {
		free(policy);
		return -ENOMEM;
	}
	policy->own = *own;
	*out = policy;
	return 0;
}

void policy__free(struct policy *policy)
{
	if (!policy)
		return;
	free(policy->rules);
	free(policy);
}

const struct policy_rule *policy__rules(const struct policy *policy, unsigned *count)
{
	*count = policy->rule_count;
	return policy->rules;
}

const struct policy_rule *policy__otherwise(const struct policy *policy)
{
	return &policy->otherwise;
}

/* Deciding */

static bool name_matches(const char *pattern, const char *name)
{
	if (strcmp(pattern, "*") == 0 || strcmp(pattern, name) == 0)
		return true;
	size_t tail = strlen(pattern), len = strlen(name);
	/* "*.example.org": the dot belongs to what has to be at the end, so that it is never the domain itself */
	return strncmp(pattern, "*.", 2) == 0 && len > tail - 1 && strcmp(name + len - (tail - 1), pattern + 1) == 0;
}

#define HOWEVER_OLD 0 /* as the time: names hold that have led somewhere at any time */

/* Whether a name that the rule is for has led to the address; if so, it is in use. */
static bool led_by_name(struct policy *policy, const struct policy_rule *rule, const struct address *address,
			uint64_t now)
{
	for (unsigned i = 0; i < policy->learned_count; i++) {
		struct learned *l = &policy->learned[i];
		if (l->until < now || !address__equal(&l->address, address) || !name_matches(rule->name, l->name))
			continue;
		if (now != HOWEVER_OLD)
			l->until = now + l->life;
		return true;
	}
	return false;
}

static bool is_for(const struct policy_rule *rule, enum policy_protocol protocol, uint16_t port)
{
	return (rule->protocol == POLICY_ANY || rule->protocol == protocol) && port >= rule->first_port &&
	       port <= rule->last_port;
}

/* Of a place where a connection begins the kernel is asked each time; datagrams are many. */
static bool is_there(const struct policy *policy, const struct policy_rule *rule, const struct address *address,
		     bool fresh, uint64_t now)
{
	return network__holds(&rule->network, address) &&
	       (!rule->own || policy->own.holds(policy->own.arg, address, fresh, now));
}

/* `led`: where the name led to, by which packets go to `to`. */
static const struct policy_rule *match(struct policy *policy, enum policy_protocol protocol, const struct address *led,
				       const struct address *to, uint16_t port, uint64_t now)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		if (is_for(rule, protocol, port) &&
		    (rule->name ? led_by_name(policy, rule, led, now)
				: is_there(policy, rule, to, protocol == POLICY_TCP, now)))
			return rule;
	}
	return &policy->otherwise;
}

const struct policy_rule *policy__match(struct policy *policy, enum policy_protocol protocol, const struct address *to,
					uint16_t port, uint64_t now, struct address *about)
{
	struct address plain[ADDRESS_PLAIN];
	unsigned count = address__plain(to, plain);
	const struct policy_rule *rule = match(policy, protocol, to, to, port, now);
	*about = *to;
	for (unsigned i = 1; i < count && rule->allow; i++) {
		const struct policy_rule *other = match(policy, protocol, to, &plain[i], port, now);
		if (other->allow)
			continue;
		rule = other;
		*about = plain[i];
	}
	return rule;
}

const struct policy_rule *policy__match_open(struct policy *policy, enum policy_protocol protocol,
					     const struct address *to, uint16_t port)
{
	struct address about;
	return policy__match(policy, protocol, to, port, HOWEVER_OLD, &about);
}

/* "0.0.0.0/0", or "::/0" for IPv6. */
static bool is_everything(const struct policy_rule *rule, bool is4)
{
	return !rule->own && network__is4(&rule->network) == is4 && rule->network.bits == (is4 ? 96U : 0U);
}

static const struct policy_rule *match_name(const struct policy *policy, enum policy_protocol protocol,
					    const char *name, uint16_t port, bool is4)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		if (is_for(rule, protocol, port) &&
		    (rule->name ? name_matches(rule->name, name) : is_everything(rule, is4)))
			return rule;
	}
	return &policy->otherwise;
}

const struct policy_rule *policy__match_name(const struct policy *policy, enum policy_protocol protocol,
					     const char *name, uint16_t port)
{
	const struct policy_rule *by4 = match_name(policy, protocol, name, port, true);
	const struct policy_rule *by6 = match_name(policy, protocol, name, port, false);
	return by6->allow && !by4->allow && protocol != POLICY_ICMP ? by6 : by4;
}

const char *policy_rule__refuses(const struct policy_rule *rule)
{
	return rule->allow ? NULL : rule->why ? rule->why : "a rule denies it";
}

bool policy_rule__yields(const struct policy_rule *rule)
{
	return !rule->allow && !rule->text;
}

bool policy__names(const struct policy *policy, const char *name)
{
	for (unsigned i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].allow && policy->rules[i].name && strcmp(policy->rules[i].name, name) == 0)
			return true;
	return false;
}

static bool is_whole(const struct policy_rule *rule)
{
	return rule->protocol == POLICY_ANY && rule->first_port == 0 && rule->last_port == UINT16_MAX;
}

const struct policy_rule *policy__match_question(const struct policy *policy, const char *name)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		/* a name of which some ports are denied may be asked for: it is its addresses that are not reached */
		if (rule->name && name_matches(rule->name, name) && (rule->allow || is_whole(rule)))
			return rule;
	}
	return &policy->otherwise;
}

/* Whether anything at the address is allowed by rules about addresses. */
static bool allowed_as_address(const struct policy *policy, const struct address *address)
{
	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		if (!rule->name && (rule->allow || is_whole(rule)) &&
		    is_there(policy, rule, address, true, HOWEVER_OLD))
			return rule->allow;
	}
	return policy->otherwise.allow;
}

/* Whether a name may lead there: not to the host and its surroundings, unless a rule is for the address itself. */
static bool may_lead(const struct policy *policy, const struct address *address)
{
	struct address plain[ADDRESS_PLAIN];
	bool may = !address__is_local(address);
	for (unsigned i = address__plain(address, plain); i > 0 && may; i--)
		may = !address__is_inside(&plain[i - 1]) || allowed_as_address(policy, &plain[i - 1]);
	return may;
}

int policy__replace(struct policy *policy, const struct policy_rule *rules, unsigned count, bool otherwise)
{
	int err = set_rules(policy, rules, count, otherwise);
	for (unsigned i = 0; !err && i < policy->learned_count;)
		if (may_lead(policy, &policy->learned[i].address))
			i++;
		else
			policy->learned[i] = policy->learned[--policy->learned_count];
	return err;
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
	if (strlen(name) > POLICY_NAME_MAX || !may_lead(policy, address))
		return false;
	struct learned *l = place_for(policy, name, address);
	l->address = *address;
	memcpy(l->name, name, strlen(name) + 1);
	l->life = (ttl < LIFE_MAX_S ? ttl : LIFE_MAX_S) * 1000ULL;
	if (l->life < LIFE_MIN_MS)
		l->life = LIFE_MIN_MS;
	l->until = now + l->life;
	l->answered = now;
	return true;
}

void policy__used(struct policy *policy, const struct address *address, uint64_t now)
{
	for (unsigned i = 0; i < policy->learned_count; i++) {
		struct learned *l = &policy->learned[i];
		if (address__equal(&l->address, address))
			l->until = now + l->life;
	}
}

bool policy__is_stale(const struct policy *policy, enum policy_protocol protocol, const struct address *address,
		      uint16_t port)
{
	for (unsigned i = 0; i < policy->learned_count; i++) {
		const struct learned *l = &policy->learned[i];
		if (address__equal(&l->address, address) && policy__match_name(policy, protocol, l->name, port)->allow)
			return true;
	}
	return false;
}

bool policy__has_names(const struct policy *policy, enum policy_protocol protocol, uint16_t port)
{
	for (unsigned i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].allow && policy->rules[i].name && is_for(&policy->rules[i], protocol, port))
			return true;
	return false;
}

const char *policy__name_of(const struct policy *policy, const struct address *address)
{
	const struct learned *latest = NULL;
	for (unsigned i = 0; i < policy->learned_count; i++) {
		const struct learned *l = &policy->learned[i];
		if (address__equal(&l->address, address) && (!latest || l->answered > latest->answered))
			latest = l;
	}
	return latest ? latest->name : NULL;
}
