/* HMAC-SHA256 in software (RFC 2104), for boards without an engine that keeps the key. */
#ifndef SEL_HMAC_H
#define SEL_HMAC_H

#include <stdint.h>

#include "sel_sha256.h"

/* A key has at most 64 bytes. */
void sel_hmac_sha256(const uint8_t *key, uint32_t key_bytes, const uint8_t *message, uint32_t bytes,
                     uint8_t mac[SEL_HASH_BYTES]);

#endif
