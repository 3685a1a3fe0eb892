/* Bytes as numbers: little-endian and anywhere, or laid out as a structure. */
#ifndef SEL_BYTES_H
#define SEL_BYTES_H

#include <stdint.h>

/* Of structures that are the bytes of a record or message, which begins at a multiple of 4. */
typedef uint64_t __attribute__((__aligned__(4))) sel_u64_t;

/* Fails to compile where a structure is not laid out as the bytes. */
#define SEL_LIES_AS(type, bytes) typedef char type##_lies_as_it_should[sizeof(type) == (bytes) ? 1 : -1]

static inline uint32_t sel_least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint16_t sel_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | (at[1] << 8));
}

static inline uint32_t sel_get32(const uint8_t *at)
{
    return at[0] | ((uint32_t)at[1] << 8) | ((uint32_t)at[2] << 16) | ((uint32_t)at[3] << 24);
}

static inline uint64_t sel_get64(const uint8_t *at)
{
    return sel_get32(at) | ((uint64_t)sel_get32(at + 4) << 32);
}

static inline void sel_put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void sel_put32(uint8_t *at, uint32_t value)
{
    sel_put16(at, (uint16_t)value);
    sel_put16(at + 2, (uint16_t)(value >> 16));
}

static inline void sel_put64(uint8_t *at, uint64_t value)
{
    sel_put32(at, (uint32_t)value);
    sel_put32(at + 4, (uint32_t)(value >> 32));
}

#endif
