/* Compaction of the overlay's stack into its other area; used by sel_overlay.c alone. */
#ifndef SEL_COMPACT_H
#define SEL_COMPACT_H

#include "sel_overlay.h"

/* The network of the image and the lowest `count` payloads of the stack. */
void sel_overlay_build(sel_overlay_t *overlay, uint16_t count);

/* Moves the stack to the other area, where `needed` bytes will be left: its top as it is, what is below it as
 * one snapshot; or, if that leaves too little and may_merge_all says so, all of it as one snapshot. SEL_FULL
 * tells what would be available, and nothing has been erased. */
sel_status_t sel_overlay_compact(sel_overlay_t *overlay, uint32_t needed, int may_merge_all,
                                 uint32_t *available);

#endif
