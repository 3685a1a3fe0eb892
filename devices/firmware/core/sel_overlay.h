/* The overlay store: what deltas have changed, in two areas of flash (docs/SPEC.md). */
#ifndef SEL_OVERLAY_H
#define SEL_OVERLAY_H

#include <stdint.h>

#include "sel_area.h"
#include "sel_net.h"

#define SEL_MOST_SEGMENTS 32u
#define SEL_NO_AREA 2u

typedef struct {
    const sel_flash_t *areas[2];
    sel_net_t *net;
    uint8_t area;   /* in use; SEL_NO_AREA for none */
    uint8_t target; /* is erased when there is no room */
    uint8_t is_damaged;
    uint16_t depth;
    uint32_t end;                  /* of what is in the area; its size if nothing may be appended any more */
    const sel_manifest_t *pending; /* segment whose commit record is missing; NULL for none */
    const sel_manifest_t *newest;  /* last segment that counts; NULL for none */
    uint32_t sequence;
    uint32_t erases[2]; /* of each area, ever */
    uint64_t counter;
    const sel_manifest_t *stack[SEL_MOST_SEGMENTS];
    uint8_t hash[SEL_HASH_BYTES]; /* of the network in use */
} sel_overlay_t;

/* Finds the network in use and puts it together in `net`, which is that of the image alone before. Never
 * writes to flash. */
void sel_overlay_open(sel_overlay_t *overlay, const sel_flash_t *area_a, const sel_flash_t *area_b,
                      sel_net_t *net);

/* Makes room for a delta and writes its manifest; goes on with it if it is the pending one.
 * SEL_FULL tells in needed and available why. The MAC was checked by the caller. */
sel_status_t sel_overlay_begin(sel_overlay_t *overlay, const sel_manifest_t *manifest, uint32_t *needed,
                               uint32_t *available);

/* Where the pending delta's payload arrives. */
void sel_overlay_place(const sel_overlay_t *overlay, sel_place_t *place);

/* Writes a chunk of the pending delta; writing it again changes nothing. SEL_INCOMPLETE if none is pending,
 * or if the chunk cannot be written where something else was written before: begin again. */
sel_status_t sel_overlay_write(sel_overlay_t *overlay, uint32_t offset, const uint8_t *data, uint32_t bytes);

/* Checks the pending delta and puts it in use. SEL_PAYLOAD_REFUSED has a reason. */
sel_status_t sel_overlay_commit(sel_overlay_t *overlay, const sel_manifest_t *manifest, uint32_t *reason);

/* The hash of the network that a rollback by one leads to; NULL if the image alone is in use. */
const uint8_t *sel_overlay_previous(const sel_overlay_t *overlay);

/* Whether a commit or rollback with this manifest was the last thing done. */
int sel_overlay_is_newest(const sel_overlay_t *overlay, const sel_manifest_t *manifest);

/* Goes back as a rollback's manifest says. There is always room for it.
 * SEL_NOTHING_BEFORE if the network to go back to is not there (any more). */
sel_status_t sel_overlay_rollback(sel_overlay_t *overlay, const sel_manifest_t *manifest);

#endif
