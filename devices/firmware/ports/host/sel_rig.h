/* The overlay and the image partition alone, on simulated flash with one supply. Meant for tests, which load
 * it as a shared library, and for sel_cuts.c. */
#ifndef SEL_RIG_H
#define SEL_RIG_H

#include <stdint.h>

#include "sel_flash_sim.h"
#include "sel_overlay.h"

typedef struct {
    sel_power_t power;
    sel_flash_sim_t *areas[2];
    sel_flash_sim_t *partition;
    uint8_t *image_bytes;
    sel_image_t image;
    sel_channel_t *table;
    uint8_t *arena;
    sel_net_t net;
    sel_overlay_t overlay;
} sel_rig_t;

/* What a host does with a board, again and again until it has an answer.
 *
 * action:  a sel_action_t.
 * bytes:   of the payload that are sent, the manifest's or fewer; of the image.
 * content: the payload or the image.
 */
typedef enum {
    SEL_PUSH = 1,      /* begin, the chunks that are not there yet, commit */
    SEL_PUSH_PART = 2, /* begin, and the first bytes */
    SEL_GO_BACK = 3,
    SEL_INSTALL = 4    /* image begin, the chunks that are not there yet, commit */
} sel_action_t;

typedef struct {
    uint32_t action;
    uint32_t bytes;
    const sel_manifest_t *manifest;
    const uint8_t *content;
} sel_step_t;

/* What a board can tell. */
typedef struct {
    uint64_t counter;
    uint32_t area, depth, end, pending, sequence, erases, is_damaged;
    uint8_t hash[32];
} sel_rig_state_t;

/* A rig whose network is that of an image in memory, with blank flash; NULL if the image cannot be opened. */
sel_rig_t *sel_rig_new(const uint8_t *image, uint32_t image_bytes, uint32_t area_bytes,
                       uint32_t partition_bytes);
void sel_rig_free(sel_rig_t *rig);

/* Makes its flash that of another rig of the same sizes. */
void sel_rig_copy(sel_rig_t *rig, const sel_rig_t *from);

/* Puts the power on, and opens the overlay. */
void sel_rig_start(sel_rig_t *rig);

/* Lets the power fail in operation number `at` from now on; 0 for never. */
void sel_rig_cut(sel_rig_t *rig, uint32_t at, uint32_t share, uint32_t scatters, uint32_t seed);

/* Returns a sel_status_t. */
int sel_rig_step(sel_rig_t *rig, const sel_step_t *step);

sel_overlay_t *sel_rig_overlay(sel_rig_t *rig);
void sel_rig_state(const sel_rig_t *rig, sel_rig_state_t *state);
const uint8_t *sel_rig_area(const sel_rig_t *rig, uint32_t number);
uint32_t sel_rig_erases(const sel_rig_t *rig, uint32_t area); /* of its first sector, ever */
uint64_t sel_rig_violations(const sel_rig_t *rig);
uint64_t sel_rig_operations(const sel_rig_t *rig);

/* The content of the channel table: of each channel its parameters and row, zeros if it has none; then u16
 * classes, u32 inverse and the names. Returns its bytes, of which only those are written that fit. */
uint32_t sel_rig_content(const sel_rig_t *rig, uint8_t *out, uint32_t room);

/* Answers for an input; the logits, one for each class, are in the rig. */
const int16_t *sel_rig_infer(const sel_rig_t *rig, const uint8_t *input);

/* The whole answer, with the kernels asked for (a sel_kernels_t): class, uncertainty and embarrassment in
 * `numbers`, the logits, one for each class, in `logits`. */
void sel_rig_answer(sel_rig_t *rig, int kernels, const uint8_t *input, uint16_t numbers[3], int16_t *logits);

#endif
