/* Whether something may leave: what has no end in the host's network never does; else a rule decides. */
#include "net/egress.h"

bool egress__is(const struct address *address, const struct address pair[2])
{
	return address__equal(address, &pair[0]) || address__equal(address, &pair[1]);
}

static struct egress_verdict by_rule(const struct policy_rule *rule, const struct address *about)
{
	return (struct egress_verdict){
		.why = policy_rule__refuses(rule), .rule = rule, .about = *about, .mend = policy_rule__yields(rule)};
}

#define STALE "the allowed name has led here more than an hour ago: the program has to look the name up again"
#define NEVER_LED "no rule allows it, and no allowed name has led there: the program has to look the name up in here"

static struct egress_verdict ask_policy(const struct egress *egress, enum policy_protocol protocol,
					const struct address *to, uint16_t port, uint64_t now)
{
	struct address about;
	const struct policy_rule *rule = policy__match(egress->policy, protocol, to, port, now, &about);
	struct egress_verdict verdict = by_rule(rule, &about);
	if (rule != policy__otherwise(egress->policy) || rule->allow)
		return verdict;
	if (policy__is_stale(egress->policy, protocol, to, port)) {
		verdict.why = STALE;
		verdict.mend = false; /* the rule is there */
	} else if (!policy__name_of(egress->policy, to) && policy__has_names(egress->policy, protocol, port)) {
		verdict.why = NEVER_LED;
	}
	return verdict;
}

/* Addresses of the guest's own network, and of none at all. */
static bool is_near(const struct net_addresses *known, const struct address *to)
{
	bool link_local6 = to->bytes[0] == 0xfe && (to->bytes[1] & 0xc0) == 0x80;
	return network__holds(&known->network[0], to) || network__holds(&known->network[1], to) || link_local6;
}

#define OTHER_PORT "the name is one with a secret, and is reached at the secret's port only"

static struct egress_verdict to_service(const struct egress *egress, enum policy_protocol protocol, const char *name,
					const struct address *to, uint16_t port)
{
	if (protocol != POLICY_TCP || !services__find(&egress->services, to, port))
		return (struct egress_verdict){.why = OTHER_PORT};
	return by_rule(policy__match_name(egress->policy, protocol, name, port), to);
}

static struct egress_verdict to_near(const struct egress *egress, enum policy_protocol protocol,
				     const struct address *to, uint16_t port, uint64_t now)
{
	const struct net_addresses *known = egress->addresses;
	const char *service = services__name_of(&egress->services, to);
	if (service)
		return to_service(egress, protocol, service, to, port);
	if (egress__is_name_server(egress, protocol, to, port))
		return (struct egress_verdict){.why = NULL};
	if (egress__is(to, known->name_server) && port == EGRESS_DNS_PORT)
		return (struct egress_verdict){.why = "the name server answers over TCP by IPv4 only"};
	if (!egress__is(to, known->host))
		return (struct egress_verdict){.why = "there is nothing at this address"};
	if (protocol == POLICY_ICMP) /* answered on the spot */
		return (struct egress_verdict){.why = NULL};
	if (!egress->host_loopback)
		return (struct egress_verdict){
			.why = "the host's own services are reached with hostLoopback = true only"};
	return ask_policy(egress, protocol, to, port, now);
}

struct egress_verdict egress__to_address(const struct egress *egress, enum policy_protocol protocol,
					 const struct address *to, uint16_t port, uint64_t now)
{
	if (is_near(egress->addresses, to))
		return to_near(egress, protocol, to, port, now);
	if (address__is_local(to))
		return (struct egress_verdict){.why = "an address that never leaves a machine"};
	struct egress_verdict verdict = ask_policy(egress, protocol, to, port, now);
	if (!verdict.why && protocol == POLICY_ICMP && !address__is4(to))
		verdict = (struct egress_verdict){.why = "echo requests over IPv6 are not carried beyond the gateway"};
	return verdict;
}

bool egress__is_name_server(const struct egress *egress, enum policy_protocol protocol, const struct address *to,
			    uint16_t port)
{
	const struct address *servers = egress->addresses->name_server;
	return port == EGRESS_DNS_PORT && ((protocol == POLICY_UDP && egress__is(to, servers)) ||
					   (protocol == POLICY_TCP && address__equal(to, &servers[0])));
}

bool egress__may_stay(const struct egress *egress, const struct address *to, uint16_t port)
{
	if (egress__is_name_server(egress, POLICY_TCP, to, port))
		return true;
	const char *service = services__name_of(&egress->services, to);
	return (service ? policy__match_name(egress->policy, POLICY_TCP, service, port)
			: policy__match_open(egress->policy, POLICY_TCP, to, port))
		->allow;
}

struct egress_verdict egress__to_name(const struct egress *egress, enum policy_protocol protocol, const char *name,
				      uint16_t port)
{
	static const struct address nowhere_yet;
	const struct policy_rule *asked = policy__match_question(egress->policy, name);
	const struct policy_rule *rule = policy__match_name(egress->policy, protocol, name, port);
	const struct address *service = services__address_of(&egress->services, name);
	if (asked->allow && service)
		return to_service(egress, protocol, name, service, port);
	if (asked->allow)
		return by_rule(rule, &nowhere_yet);
	/* a rule that refuses the packets as well says more than that none allows the name */
	bool denied = !rule->allow && rule != policy__otherwise(egress->policy);
	return (struct egress_verdict){
		.why = "no rule allows the name", .rule = denied ? rule : asked, .mend = true, .question = true};
}
