/* The network in use: an image, seen through a table that says where each channel is. */
#ifndef SEL_NET_H
#define SEL_NET_H

#include <stdint.h>

#include "sel_image.h"

/* Where a channel's row and parameters are, in the image or in an overlay; both 4-byte aligned. NULL for a
 * class that has none yet. */
typedef struct {
    const uint8_t *row;
    const uint8_t *parameters;
} sel_channel_t;

typedef enum { SEL_FAST = 0, SEL_PLAIN = 1 } sel_kernels_t;

typedef struct {
    const sel_image_t *image;
    sel_channel_t *table; /* image->entries of them */
    uint8_t *arena;       /* image->arena_bytes, 4-byte aligned */
    uint16_t classes;
    uint32_t inverse; /* of the stand-in */
    const uint8_t *names; /* K texts */
    sel_kernels_t kernels;
} sel_net_t;

/* What was answered for a frame. */
typedef struct {
    uint16_t label;
    uint16_t uncertainty;
    uint16_t embarrassment;
    const int16_t *logits;   /* in the arena, net->classes of them */
    const uint8_t *features; /* in the arena; NULL if another tensor has taken their place */
} sel_answer_t;

/* A payload is runs: this, and data. */
typedef struct {
    uint16_t layer, kind, first, count;
} sel_run_t;

typedef enum { SEL_RUN_SCALE = 1, SEL_RUN_WHOLE = 2, SEL_RUN_CLASSES = 3 } sel_run_kind_t;

/* The network of an image alone. */
void sel_net_reset(sel_net_t *net, const sel_image_t *image, sel_channel_t *table, uint8_t *arena);

/* Why a payload is refused. */
typedef enum {
    SEL_BAD_RUNS = 1,     /* not whole runs of channels that there are */
    SEL_BAD_REPEAT = 2,   /* something is changed twice */
    SEL_BAD_CHANNELS = 3, /* weights, shifts or sums out of range, or parameters of a class without row */
    SEL_BAD_CLASSES = 4   /* names, or classes without row */
} sel_payload_fault_t;

/* Checks a payload, 4-byte aligned, against the network as it is; changes nothing.
 * Returns SEL_OK, or SEL_PAYLOAD_REFUSED with the reason. */
sel_status_t sel_net_check(const sel_net_t *net, const uint8_t *payload, uint32_t bytes, uint32_t *reason);

/* Reads a checked payload's channels from now on where the payload lies. */
void sel_net_apply(sel_net_t *net, const uint8_t *payload, uint32_t bytes);

/* Bytes of one input of the image. */
uint32_t sel_net_input_bytes(const sel_image_t *image);

/* Answers for one input: [height][width][channels] pixels, or values that are quantized already. */
void sel_net_infer(const sel_net_t *net, const uint8_t *input, sel_answer_t *answer);

/* Its two parts, for who measures them: the input's way into the arena, and one layer. */
void sel_net_read(const sel_net_t *net, const uint8_t *input);
void sel_net_run(const sel_net_t *net, uint16_t number);

#endif
