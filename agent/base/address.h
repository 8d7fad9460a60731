/*
 * address.h - network addresses: as people write them, "host:port", "127.0.0.1:8080", "[::1]:50051", and as
 * limits know them.
 */
#ifndef SH_AGENT_BASE_ADDRESS_H
#define SH_AGENT_BASE_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>

#include "core/status.h"

#define SH_HOST_BYTES 256 /* 255 characters and the NUL */
/* The longest text of an address: host, brackets, colon, five digits and the NUL. */
#define SH_ADDRESS_TEXT_BYTES (SH_HOST_BYTES + 8)
#define SH_ADDRESS_KEY_BYTES  16

typedef struct ShAddress {
    char host[SH_HOST_BYTES]; /* a name or a literal address, without brackets */
    uint16_t port;
} ShAddress;

/* Strict: a host, a colon and a decimal port of 0 to 65535; an IPv6 address stands in brackets. SH_INVALID
 * names what is wrong. No name is looked up. */
ShStatus sh_address_parse(const char *text, ShAddress *out, ShError *err) SH_MUST_CHECK;

void sh_address_format(const ShAddress *address, char text[SH_ADDRESS_TEXT_BYTES]);

/* Where a peer comes from, as limits know it: an address of IPv4, as IPv6 maps it, or the first 64 bits of
 * one of IPv6 and zeros, for who has one of these has all. Zeros for peers of other families. */
void sh_address_key(const struct sockaddr *peer, uint8_t key[SH_ADDRESS_KEY_BYTES]);

#endif
