#include "sel_overlay.h"

#include <string.h>

#include "sel_compact.h"

#define ROLLBACK_BYTES (2 * SEL_PAGE_BYTES)
#define HASH_LABEL "sel-edge overlay 1" /* with the 0 at its end */

static const sel_flash_t *in_use(const sel_overlay_t *overlay)
{
    return overlay->areas[overlay->area];
}

static int are_same(const uint8_t *hash, const uint8_t *other)
{
    return memcmp(hash, other, SEL_HASH_BYTES) == 0;
}

/* The hash of the network that the lowest `depth` segments of the stack make. */
static const uint8_t *hash_at(const sel_overlay_t *overlay, uint32_t depth)
{
    return depth > 0 ? overlay->stack[depth - 1]->after : sel_image_hash(overlay->net->image);
}

/* The depth that a rollback leads to. */
static uint16_t depth_after(const sel_overlay_t *overlay, const sel_manifest_t *rollback)
{
    return rollback->depth == 1 ? (uint16_t)(overlay->depth - 1) : 0;
}

/* Pushes or pops as a segment says that counts. */
static void take(sel_overlay_t *overlay, const sel_manifest_t *segment)
{
    if (segment->kind == SEL_ROLLBACK) {
        overlay->depth = depth_after(overlay, segment);
        sel_overlay_build(overlay, overlay->depth);
    } else {
        overlay->stack[overlay->depth++] = segment;
        sel_net_apply(overlay->net, sel_segment_payload(segment), segment->bytes);
    }
    overlay->newest = segment;
    overlay->pending = NULL;
    memcpy(overlay->hash, segment->after, sizeof overlay->hash);
}

/* Whether a rollback leads to a network that is there. */
static int goes_back(const sel_overlay_t *overlay, const sel_manifest_t *rollback)
{
    return overlay->depth > 0 && are_same(rollback->after, hash_at(overlay, depth_after(overlay, rollback)));
}

/* Whether a committed segment belongs on the stack as it is, and is what it was when it was committed. */
static int fits(const sel_overlay_t *overlay, const sel_manifest_t *segment)
{
    uint32_t reason;
    if (!are_same(segment->before, overlay->hash) || !sel_segment_is_whole(segment)) {
        return 0;
    }
    if (segment->kind == SEL_ROLLBACK) {
        return goes_back(overlay, segment);
    }
    return overlay->depth < (segment->kind == SEL_SNAPSHOT ? 1u : SEL_MOST_SEGMENTS) &&
           sel_net_check(overlay->net, sel_segment_payload(segment), segment->bytes, &reason) == SEL_OK;
}

/* Reads the area in use up to a header that is blank or wrong. A committed segment that does not fit closes
 * it. */
static void read_area(sel_overlay_t *overlay)
{
    const sel_flash_t *flash = in_use(overlay);
    uint32_t at = SEL_SEGMENTS_AT;
    while (sel_segment_is_right(flash, at)) {
        const sel_manifest_t *segment = sel_segment_at(flash, at);
        overlay->pending = segment;
        at += sel_segment_bytes(segment);
        if (sel_segment_is_committed(segment)) {
            if (!fits(overlay, segment)) {
                overlay->is_damaged = 1;
                overlay->pending = NULL;
                at = flash->bytes;
                break;
            }
            take(overlay, segment);
        }
    }
    overlay->end = at;
}

void sel_overlay_open(sel_overlay_t *overlay, const sel_flash_t *area_a, const sel_flash_t *area_b,
                      sel_net_t *net)
{
    const sel_area_t *newest = NULL;
    int count = 0;
    memset(overlay, 0, sizeof *overlay);
    overlay->areas[0] = area_a;
    overlay->areas[1] = area_b;
    overlay->net = net;
    overlay->area = SEL_NO_AREA;
    memcpy(overlay->hash, sel_image_hash(net->image), sizeof overlay->hash);
    for (uint8_t i = 0; i < 2; i++) {
        const sel_area_t *area = sel_area(overlay->areas[i]);
        if (area != NULL) {
            uint64_t counter = sel_area_counter(overlay->areas[i]);
            overlay->counter = counter > overlay->counter ? counter : overlay->counter;
            overlay->erases[i] = area->erases;
            count++;
            if (area->sequence > overlay->sequence) {
                overlay->sequence = area->sequence;
                overlay->target = (uint8_t)(1 - i);
                newest = area;
            }
        }
    }
    if (count == 1) {
        overlay->erases[overlay->target] = newest->erases;
    }
    if (count > 0 && are_same(newest->image_hash, overlay->hash)) {
        overlay->area = (uint8_t)(1 - overlay->target);
        read_area(overlay);
    }
}

/* Whether a manifest may come next. */
static sel_status_t check(const sel_overlay_t *overlay, const sel_manifest_t *manifest,
                          sel_segment_kind_t kind)
{
    if (!sel_manifest_is_right(manifest) || manifest->kind != kind) {
        return SEL_MALFORMED;
    }
    if (!are_same(manifest->before, overlay->hash)) {
        return SEL_WRONG_BASE;
    }
    return manifest->counter > overlay->counter ? SEL_OK : SEL_STALE_COUNTER;
}

static int is_that(const sel_manifest_t *segment, const sel_manifest_t *manifest)
{
    return segment != NULL && memcmp(segment, manifest, sizeof *manifest) == 0;
}

static int is_pending(const sel_overlay_t *overlay, const sel_manifest_t *manifest)
{
    return overlay->depth < SEL_MOST_SEGMENTS && is_that(overlay->pending, manifest);
}

/* Makes room for a segment and `reserve` bytes after it, and writes its header. */
static sel_status_t append(sel_overlay_t *overlay, const sel_manifest_t *manifest, uint32_t reserve,
                           uint32_t *needed, uint32_t *available)
{
    uint32_t bytes = sel_segment_bytes(manifest);
    *needed = bytes + reserve;
    if (overlay->area == SEL_NO_AREA || overlay->depth == SEL_MOST_SEGMENTS ||
        in_use(overlay)->bytes - overlay->end < *needed ||
        !sel_flash_is_blank(in_use(overlay), overlay->end, *needed)) {
        sel_status_t status = sel_overlay_compact(overlay, *needed, reserve > 0, available);
        if (status != SEL_OK) {
            return status;
        }
    }
    overlay->pending = NULL;
    if (sel_flash_put(in_use(overlay), overlay->end, manifest, sizeof *manifest) != 0) {
        return SEL_FLASH_FAULT;
    }
    overlay->pending = sel_segment_at(in_use(overlay), overlay->end);
    overlay->end += bytes;
    return SEL_OK;
}

sel_status_t sel_overlay_begin(sel_overlay_t *overlay, const sel_manifest_t *manifest, uint32_t *needed,
                               uint32_t *available)
{
    sel_status_t status = check(overlay, manifest, SEL_DELTA);
    if (status != SEL_OK || is_pending(overlay, manifest)) {
        return status;
    }
    return append(overlay, manifest, ROLLBACK_BYTES, needed, available);
}

void sel_overlay_place(const sel_overlay_t *overlay, sel_place_t *place)
{
    place->bytes = 0;
    place->is_final = 0;
    if (overlay->pending != NULL) {
        place->flash = in_use(overlay);
        place->at = (uint32_t)(sel_segment_payload(overlay->pending) - place->flash->map);
        place->bytes = overlay->pending->bytes;
    }
}

sel_status_t sel_overlay_write(sel_overlay_t *overlay, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    sel_place_t place;
    sel_status_t status;
    sel_overlay_place(overlay, &place);
    status = sel_place_write(&place, offset, data, bytes);
    if (status == SEL_INCOMPLETE) {
        overlay->pending = NULL;
    }
    return status;
}

/* Commits the pending segment, of which all but that was checked. */
static sel_status_t keep(sel_overlay_t *overlay)
{
    const sel_manifest_t *segment = overlay->pending;
    if (sel_segment_commit(in_use(overlay), segment) != 0) {
        overlay->pending = NULL;
        return SEL_FLASH_FAULT;
    }
    take(overlay, segment);
    overlay->counter = segment->counter;
    return SEL_OK;
}

const uint8_t *sel_overlay_previous(const sel_overlay_t *overlay)
{
    return overlay->depth > 0 ? hash_at(overlay, overlay->depth - 1u) : NULL;
}

int sel_overlay_is_newest(const sel_overlay_t *overlay, const sel_manifest_t *manifest)
{
    return is_that(overlay->newest, manifest);
}

/* Whether the hash afterwards is that of the hash before and the pending payload. */
static int hash_is_right(const sel_overlay_t *overlay)
{
    const sel_manifest_t *segment = overlay->pending;
    uint8_t found[SEL_HASH_BYTES];
    sel_sha256_t hash;
    sel_sha256_begin(&hash);
    sel_sha256_add(&hash, (const uint8_t *)HASH_LABEL, sizeof HASH_LABEL);
    sel_sha256_add(&hash, overlay->hash, sizeof overlay->hash);
    sel_sha256_add(&hash, sel_segment_payload(segment), segment->bytes);
    sel_sha256_end(&hash, found);
    return are_same(found, segment->after);
}

sel_status_t sel_overlay_commit(sel_overlay_t *overlay, const sel_manifest_t *manifest, uint32_t *reason)
{
    const sel_manifest_t *segment = overlay->pending;
    sel_status_t status;
    if (sel_overlay_is_newest(overlay, manifest)) {
        return SEL_OK;
    }
    status = check(overlay, manifest, SEL_DELTA);
    if (status != SEL_OK) {
        return status;
    }
    if (!is_pending(overlay, manifest) || !sel_segment_is_whole(segment) || !hash_is_right(overlay)) {
        return SEL_INCOMPLETE;
    }
    status = sel_net_check(overlay->net, sel_segment_payload(segment), segment->bytes, reason);
    return status == SEL_OK ? keep(overlay) : status;
}

sel_status_t sel_overlay_rollback(sel_overlay_t *overlay, const sel_manifest_t *manifest)
{
    uint32_t needed, available;
    sel_status_t status;
    if (sel_overlay_is_newest(overlay, manifest)) {
        return SEL_OK;
    }
    status = check(overlay, manifest, SEL_ROLLBACK);
    if (status == SEL_OK && !goes_back(overlay, manifest)) {
        status = SEL_NOTHING_BEFORE;
    }
    if (status == SEL_OK && !is_pending(overlay, manifest)) {
        status = append(overlay, manifest, 0, &needed, &available);
    }
    return status == SEL_OK ? keep(overlay) : status;
}
