#include "agent/registry/access.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "agent/base/address.h"

static bool is_literal(const char *name);
static bool is_listed(const char *list, const char *name, size_t length);
static bool is_loopback_4(uint32_t address);
static bool is_loopback_name(const char *host);

ShRegistryAccess sh_registry_access(const ShConfig *config, const char *bound_address)
{
    ShAddress bound;
    bool is_known = sh_address_parse(bound_address, &bound, NULL) == SH_OK;
    return (ShRegistryAccess){.hosts = config->schema_registry_hosts,
                              .is_loopback = is_known && is_loopback_name(bound.host),
                              .changes = config->schema_registry_changes_from};
}

bool sh_registry_access_host(const ShRegistryAccess *access, const char *host)
{
    char name[SH_HOST_BYTES];
    if (host == NULL)
        return true;
    bool has_brackets = host[0] == '[';
    size_t length = has_brackets ? strcspn(++host, "]") : strcspn(host, ":");
    if (!has_brackets && length > 0 && host[length - 1] == '.')
        length--; /* "localhost." is the same */
    if (length == 0 || length >= sizeof name)
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    /* A page's own name is what rebinding leads here; a literal address leads to itself. */
    if (is_literal(name) || strcasecmp(name, "localhost") == 0)
        return true;
    if (access->hosts[0] == '\0')
        return !access->is_loopback;
    return is_listed(access->hosts, name, length);
}

bool sh_registry_access_changes(const ShRegistryAccess *access, const struct sockaddr *client)
{
    if (access->changes != SH_CHANGES_FROM_LOOPBACK)
        return access->changes == SH_CHANGES_FROM_ANYWHERE;
    if (client == NULL)
        return false;
    if (client->sa_family == AF_INET)
        return is_loopback_4(((const struct sockaddr_in *)(const void *)client)->sin_addr.s_addr);
    if (client->sa_family != AF_INET6)
        return false;
    const struct in6_addr *address = &((const struct sockaddr_in6 *)(const void *)client)->sin6_addr;
    uint32_t mapped;
    memcpy(&mapped, address->s6_addr + 12, sizeof mapped);
    return IN6_IS_ADDR_LOOPBACK(address) || (IN6_IS_ADDR_V4MAPPED(address) && is_loopback_4(mapped));
}

static bool is_literal(const char *name)
{
    unsigned char any[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, any) == 1 || inet_pton(AF_INET6, name, any) == 1;
}

/* In a list of names with commas between them; "*" is any name. */
static bool is_listed(const char *list, const char *name, size_t length)
{
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t item = strcspn(list, ", \t");
        if ((item == 1 && *list == '*') || (item == length && strncasecmp(list, name, length) == 0))
            return true;
        list += item;
    }
    return false;
}

/* In the order of the network. */
static bool is_loopback_4(uint32_t address)
{
    return ntohl(address) >> 24 == 127;
}

static bool is_loopback_name(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, host, &four) == 1)
        return is_loopback_4(four.s_addr);
    return inet_pton(AF_INET6, host, &six) == 1 ? IN6_IS_ADDR_LOOPBACK(&six)
                                                : strcasecmp(host, "localhost") == 0;
}
