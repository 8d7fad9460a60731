#include "agent/base/address.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_host(const char *host, size_t length, bool bracketed);
static bool parse_port(const char *text, uint16_t *out);

ShStatus sh_address_parse(const char *text, ShAddress *out, ShError *err)
{
    bool bracketed = text[0] == '[';
    const char *host = bracketed ? text + 1 : text;
    const char *host_end = bracketed ? strchr(host, ']') : strrchr(host, ':');
    const char *colon = bracketed && host_end != NULL ? host_end + 1 : host_end;
    if (host_end == NULL || *colon != ':')
        return sh_fail(err, SH_INVALID, "\"%s\" is not host:port", text);

    size_t length = (size_t)(host_end - host);
    if (!is_host(host, length, bracketed))
        return sh_fail(err, SH_INVALID, "\"%s\" is not host:port: the host is not a name or an address%s",
                       text,
                       memchr(host, ':', length) != NULL ? " (an IPv6 address stands in brackets)" : "");
    uint16_t port;
    if (!parse_port(colon + 1, &port))
        return sh_fail(err, SH_INVALID, "\"%s\" is not host:port: the port is a number from 0 to 65535",
                       text);

    memcpy(out->host, host, length);
    out->host[length] = '\0';
    out->port = port;
    return SH_OK;
}

void sh_address_format(const ShAddress *address, char text[SH_ADDRESS_TEXT_BYTES])
{
    bool brackets = strchr(address->host, ':') != NULL;
    snprintf(text, SH_ADDRESS_TEXT_BYTES, "%s%s%s:%u", brackets ? "[" : "", address->host,
             brackets ? "]" : "", address->port);
}

void sh_address_key(const struct sockaddr *peer, uint8_t key[SH_ADDRESS_KEY_BYTES])
{
    memset(key, 0, SH_ADDRESS_KEY_BYTES);
    if (peer->sa_family == AF_INET6) {
        struct sockaddr_in6 place;
        memcpy(&place, peer, sizeof place);
        memcpy(key, &place.sin6_addr, IN6_IS_ADDR_V4MAPPED(&place.sin6_addr) ? 16 : 8);
    } else if (peer->sa_family == AF_INET) {
        struct sockaddr_in place;
        memcpy(&place, peer, sizeof place);
        key[10] = key[11] = 0xFF;
        memcpy(key + 12, &place.sin_addr, sizeof place.sin_addr);
    }
}

static bool is_host(const char *host, size_t length, bool bracketed)
{
    static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    static const char ipv6_characters[] = "0123456789abcdefABCDEF:.";
    if (length == 0 || length >= SH_HOST_BYTES)
        return false;
    return strspn(host, bracketed ? ipv6_characters : name_characters) >= length;
}

static bool parse_port(const char *text, uint16_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    unsigned port = 0;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (unsigned)(text[i] - '0');
    if (port > 65535)
        return false;
    *out = (uint16_t)port;
    return true;
}
