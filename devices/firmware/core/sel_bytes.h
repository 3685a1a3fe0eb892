/* Little-endian numbers in bytes that may lie anywhere. */
#ifndef SEL_BYTES_H
#define SEL_BYTES_H

#include <stdint.h>

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
