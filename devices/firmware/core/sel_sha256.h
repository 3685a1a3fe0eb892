/* SHA-256 (FIPS 180-4). */
#ifndef SEL_SHA256_H
#define SEL_SHA256_H

#include <stdint.h>

#define SEL_HASH_BYTES 32u

/* A hash under way: begin, add as often as needed, end. bytes: so far, below 2^32. */
typedef struct {
    uint32_t state[8];
    uint32_t bytes;
    uint8_t block[64];
} sel_sha256_t;

void sel_sha256_begin(sel_sha256_t *hash);
void sel_sha256_add(sel_sha256_t *hash, const uint8_t *data, uint32_t bytes);
void sel_sha256_end(sel_sha256_t *hash, uint8_t digest[SEL_HASH_BYTES]);

/* The hash of bytes that lie in one piece. */
void sel_sha256(const uint8_t *data, uint32_t bytes, uint8_t digest[SEL_HASH_BYTES]);

#endif
