/* How embarrassed the device thinks a network is by a frame, without a label (docs/SPEC.md, stand-in). */
#ifndef SEL_SIGNAL_H
#define SEL_SIGNAL_H

#include <stdint.h>

/* classes: 1..256. logits: 1/256 nat. inverse: round(2^32 / (98304 ln classes)).
 * Returns the normalized entropy of the softmax at temperature 1.5, 1/65536. */
uint16_t sel_uncertainty(const int16_t *logits, uint16_t classes, uint32_t inverse);

/* standin: as it stands in a checked image. Returns 1/256 nat. */
uint16_t sel_embarrassment(const uint8_t *standin, uint16_t uncertainty);

/* The class of the greatest logit, the first of several. */
uint16_t sel_greatest(const int16_t *logits, uint16_t classes);

#endif
