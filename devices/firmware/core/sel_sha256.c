#include "sel_sha256.h"

#include <string.h>

#include "sel_bytes.h"

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return (word >> bits) | (word << (32 - bits));
}

static uint32_t big_endian(const uint8_t *at)
{
    return ((uint32_t)at[0] << 24) | ((uint32_t)at[1] << 16) | ((uint32_t)at[2] << 8) | at[3];
}

static void put_big_endian(uint8_t *at, uint32_t word)
{
    for (unsigned i = 4; i-- > 0; word >>= 8) {
        at[i] = (uint8_t)word;
    }
}

static void compress(uint32_t state[8], const uint8_t *block)
{
    uint32_t words[64], v[8];
    for (unsigned i = 0; i < 16; i++) {
        words[i] = big_endian(block + 4 * i);
    }
    for (unsigned i = 16; i < 64; i++) {
        uint32_t w2 = words[i - 2], w15 = words[i - 15];
        uint32_t s0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >> 3);
        uint32_t s1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >> 10);
        words[i] = words[i - 16] + s0 + words[i - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        uint32_t choice = v[6] ^ (v[4] & (v[5] ^ v[6]));
        uint32_t t1 = v[7] + s1 + choice + constants[i] + words[i];
        uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        uint32_t majority = (v[0] & v[1]) | (v[2] & (v[0] | v[1]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + s0 + majority;
    }
    for (unsigned i = 0; i < 8; i++) {
        state[i] += v[i];
    }
}

void sel_sha256_begin(sel_sha256_t *hash)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof start);
    hash->bytes = 0;
}

void sel_sha256_add(sel_sha256_t *hash, const uint8_t *data, uint32_t bytes)
{
    uint32_t filled = hash->bytes % 64;
    hash->bytes += bytes;
    while (bytes > 0) {
        uint32_t count = sel_least(bytes, 64 - filled);
        if (count == 64) {
            compress(hash->state, data);
        } else {
            memcpy(hash->block + filled, data, count);
            if (filled + count == 64) {
                compress(hash->state, hash->block);
            }
        }
        data += count;
        bytes -= count;
        filled = (filled + count) % 64;
    }
}

void sel_sha256_end(sel_sha256_t *hash, uint8_t digest[SEL_HASH_BYTES])
{
    uint8_t length[8], pad = 0x80;
    put_big_endian(length, hash->bytes >> 29);
    put_big_endian(length + 4, hash->bytes << 3);
    do {
        sel_sha256_add(hash, &pad, 1);
        pad = 0;
    } while (hash->bytes % 64 != 56);
    sel_sha256_add(hash, length, sizeof length);
    for (unsigned i = 0; i < 8; i++) {
        put_big_endian(digest + 4 * i, hash->state[i]);
    }
}

void sel_sha256(const uint8_t *data, uint32_t bytes, uint8_t digest[SEL_HASH_BYTES])
{
    sel_sha256_t hash;
    sel_sha256_begin(&hash);
    sel_sha256_add(&hash, data, bytes);
    sel_sha256_end(&hash, digest);
}
