/* What a layer computes, in two ways that always agree to the bit (docs/SPEC.md). */
#ifndef SEL_KERNELS_H
#define SEL_KERNELS_H

#include <stdint.h>

#include "sel_net.h"

/* A word of bytes that are 4-byte aligned. */
typedef uint32_t __attribute__((__may_alias__)) sel_word_t;

/* What the parameters of a channel say. */
typedef struct {
    uint32_t bias;
    int32_t multiplier;
    uint32_t shift;
} sel_scale_t;

static inline sel_scale_t sel_scale(const uint8_t *parameters)
{
    const sel_word_t *words = (const sel_word_t *)(const void *)parameters;
    sel_scale_t scale;

    scale.bias = words[0];
    scale.multiplier = (int32_t)(words[1] & ~0xFFu);
    scale.shift = words[1] & 0xFFu;
    return scale;
}

/* The rule of docs/SPEC.md before zero point and clamp. */
static inline int32_t sel_rescale(int32_t sum, int32_t multiplier, uint32_t shift)
{
    int32_t upper = (int32_t)(((int64_t)sum * multiplier) >> 32);

    return (upper + (int32_t)(1u << (shift - 1))) >> shift;
}

static inline int32_t sel_clamp(int32_t value, int32_t least, int32_t greatest)
{
    if (value < least)
        value = least;
    else if (value > greatest)
        value = greatest;
    return value;
}

/* Bytes of a pixel: channels rounded up to a multiple of 4. */
static inline uint32_t sel_stride(uint16_t channels)
{
    return (channels + 3u) & ~3u;
}

/* CONV or LINEAR. channels: the layer's first entry of the channel table. classes: of the last layer, which
 * makes logits of so many; else 0. */
void sel_plain_convolve(const sel_layer_t *layer, const sel_channel_t *channels, uint16_t classes,
                        uint8_t *arena);

/* Every operation without weights. */
void sel_plain_other(const sel_layer_t *layer, uint8_t *arena);

/* Scratch that the fast kernel needs for a CONV or LINEAR layer, 0 for one that it cannot compute. */
uint32_t sel_fast_scratch_bytes(const sel_layer_t *layer);

/* The same as sel_plain_convolve; scratch is 4-byte aligned. */
void sel_fast_convolve(const sel_layer_t *layer, const sel_channel_t *channels, uint8_t *arena,
                       uint8_t *scratch);

#endif
