#include "sel_hmac.h"

#define BLOCK_BYTES 64u
#define INNER_PAD 0x36u
#define OUTER_PAD 0x5Cu

static void begin_padded(sel_sha256_t *hash, const uint8_t *key, uint32_t key_bytes, uint8_t pad)
{
    uint8_t block[BLOCK_BYTES];
    for (uint32_t i = 0; i < BLOCK_BYTES; i++) {
        block[i] = i < key_bytes ? (uint8_t)(key[i] ^ pad) : pad;
    }
    sel_sha256_begin(hash);
    sel_sha256_add(hash, block, sizeof block);
}

void sel_hmac_sha256(const uint8_t *key, uint32_t key_bytes, const uint8_t *message, uint32_t bytes,
                     uint8_t mac[SEL_HASH_BYTES])
{
    sel_sha256_t hash;
    begin_padded(&hash, key, key_bytes, INNER_PAD);
    sel_sha256_add(&hash, message, bytes);
    sel_sha256_end(&hash, mac);
    begin_padded(&hash, key, key_bytes, OUTER_PAD);
    sel_sha256_add(&hash, mac, SEL_HASH_BYTES);
    sel_sha256_end(&hash, mac);
}
