/* Power cuts at and inside every flash operation of a step, and again while it is repeated. */
#ifndef SEL_CUTS_H
#define SEL_CUTS_H

#include <stdint.h>

#include "sel_rig.h"

/* A network by its hash, and what sel_rig_content and sel_rig_infer say of it. */
typedef struct {
    const uint8_t *hash;
    const uint8_t *content;
    uint32_t content_bytes;
    uint32_t classes;
    const int16_t *logits;
} sel_expected_t;

/* Steps, of which the last is cut, and the networks before and after it.
 *
 * before, after: of an installation, hash, content and content_bytes are those of the images.
 * other:         a step that a host may take instead of the last one, on the network before.
 * after_other:   the network after that.
 */
typedef struct {
    const uint8_t *image;
    uint32_t image_bytes;
    uint32_t area_bytes;
    uint32_t partition_bytes;
    uint32_t step_count;
    const sel_step_t *steps;
    const uint8_t *input;
    sel_step_t other;
    sel_expected_t before, after, after_other;
} sel_scenario_t;

/* What was counted.
 *
 * operations: of the step, if nothing is cut.
 * bricks:     neither network runs, its counter is another one's, or the step cannot be finished any more.
 * corrupted:  something else runs than the network in use, or a damaged image is opened.
 * replays:    steps from before that were done again.
 */
typedef struct {
    uint64_t operations, cuts, bricks, corrupted, replays, violations;
} sel_cuts_t;

/* Cuts every operation of the last step in `ways` ways, and half of the time once more while it is repeated.
 * Then it is finished, or the other step done if it is not done yet. Adds to `cuts`. Returns 0, or not 0 if
 * the steps do not even work without a cut. */
int sel_cuts_run(const sel_scenario_t *scenario, uint32_t ways, uint32_t seed, sel_cuts_t *cuts);

#endif
