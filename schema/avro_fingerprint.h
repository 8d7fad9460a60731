/* avro_fingerprint.h - CRC-64-AVRO, the Rabin fingerprint of the Apache Avro 1.11 specification ("Schema
 * Fingerprints"). */
#ifndef SH_SCHEMA_AVRO_FINGERPRINT_H
#define SH_SCHEMA_AVRO_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

/* Of a schema's parsing canonical form (SH_SCHEMA_FORM_PARSING). */
uint64_t sh_avro_fingerprint(const void *bytes, size_t length);

#endif
