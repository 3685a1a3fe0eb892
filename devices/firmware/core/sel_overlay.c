#include "sel_overlay.h"

#include <string.h>

#include "sel_area.h"
#include "sel_bytes.h"
#include "sel_compact.h"
#include "sel_crc.h"
#include "sel_sha256.h"

#define ROLLBACK_BYTES (2 * SEL_PAGE_BYTES)
#define HASH_LABEL "sel-edge overlay 1" /* with the 0 at its end */

static const sel_flash_t *in_use(const sel_overlay_t *overlay)
{
    return overlay->areas[overlay->area];
}

static const uint8_t *manifest_at(const sel_overlay_t *overlay, uint32_t at)
{
    return in_use(overlay)->map + at;
}

/* The hash of the network that the lowest `depth` segments of the stack make. */
static const uint8_t *hash_at(const sel_overlay_t *overlay, unsigned depth)
{
    return depth > 0 ? manifest_at(overlay, overlay->stack[depth - 1]) + SEL_MANIFEST_AFTER
                     : sel_image_hash(overlay->net->image);
}

/* Pushes or pops as a segment says that counts. */
static void take(sel_overlay_t *overlay, uint32_t at)
{
    const uint8_t *manifest = manifest_at(overlay, at);
    if (sel_get16(manifest + SEL_MANIFEST_KIND) == SEL_ROLLBACK) {
        int is_one = sel_get32(manifest + SEL_MANIFEST_DEPTH) == 1;
        overlay->depth = (uint16_t)(is_one ? overlay->depth - 1u : 0);
        sel_overlay_build(overlay, overlay->depth);
    } else {
        overlay->stack[overlay->depth++] = at;
        sel_net_apply(overlay->net, manifest + SEL_PAGE_BYTES, sel_get32(manifest + SEL_MANIFEST_PAYLOAD));
    }
    overlay->newest = at;
    overlay->pending = 0;
    memcpy(overlay->hash, manifest + SEL_MANIFEST_AFTER, sizeof overlay->hash);
}

/* Whether a rollback leads to a network that is there. */
static int goes_back(const sel_overlay_t *overlay, const uint8_t *manifest)
{
    int is_one = sel_get32(manifest + SEL_MANIFEST_DEPTH) == 1;
    return overlay->depth > 0 &&
           memcmp(manifest + SEL_MANIFEST_AFTER, hash_at(overlay, is_one ? overlay->depth - 1u : 0),
                  sizeof overlay->hash) == 0;
}

/* Whether a committed segment belongs on the stack as it is, and is what it was when it was committed. */
static int fits(const sel_overlay_t *overlay, uint32_t at)
{
    const uint8_t *manifest = manifest_at(overlay, at);
    uint16_t kind = sel_get16(manifest + SEL_MANIFEST_KIND);
    uint32_t reason;
    if (memcmp(manifest + SEL_MANIFEST_BEFORE, overlay->hash, sizeof overlay->hash) != 0 ||
        !sel_segment_is_whole(in_use(overlay), at)) {
        return 0;
    }
    if (kind == SEL_ROLLBACK) {
        return goes_back(overlay, manifest);
    }
    return overlay->depth < (kind == SEL_SNAPSHOT ? 1u : SEL_MOST_SEGMENTS) &&
           sel_net_check(overlay->net, manifest + SEL_PAGE_BYTES, sel_get32(manifest + SEL_MANIFEST_PAYLOAD),
                         &reason) == SEL_OK;
}

/* Reads the area in use up to a header that is blank or wrong. A committed segment that does not fit closes
 * it. */
static void read_area(sel_overlay_t *overlay)
{
    const sel_flash_t *flash = in_use(overlay);
    uint32_t at = SEL_SEGMENTS_AT;
    while (sel_segment_is_right(flash, at)) {
        overlay->pending = at;
        if (sel_segment_is_committed(flash, at)) {
            if (!fits(overlay, at)) {
                overlay->is_damaged = 1;
                overlay->pending = 0;
                overlay->end = flash->bytes;
                return;
            }
            take(overlay, at);
        }
        at += sel_segment_bytes(flash->map + at);
    }
    overlay->end = at;
}

void sel_overlay_open(sel_overlay_t *overlay, const sel_flash_t *area_a, const sel_flash_t *area_b,
                      sel_net_t *net)
{
    sel_area_t areas[2];
    int are_right[2];
    memset(overlay, 0, sizeof *overlay);
    overlay->areas[0] = area_a;
    overlay->areas[1] = area_b;
    overlay->net = net;
    overlay->area = SEL_NO_AREA;
    memcpy(overlay->hash, sel_image_hash(net->image), sizeof overlay->hash);
    for (uint8_t i = 0; i < 2; i++) {
        are_right[i] = sel_area_read(overlay->areas[i], &areas[i]);
        if (are_right[i]) {
            uint64_t counter = sel_area_counter(overlay->areas[i], &areas[i]);
            overlay->counter = counter > overlay->counter ? counter : overlay->counter;
            overlay->erases[i] = areas[i].erases;
            if (areas[i].sequence > overlay->sequence) {
                overlay->sequence = areas[i].sequence;
                overlay->target = (uint8_t)(1 - i);
            }
        }
    }
    if (overlay->sequence == 0) {
        return;
    }
    uint8_t newest = (uint8_t)(1 - overlay->target);
    if (!are_right[overlay->target]) {
        overlay->erases[overlay->target] = overlay->erases[newest];
    }
    if (memcmp(areas[newest].image_hash, overlay->hash, sizeof overlay->hash) == 0) {
        overlay->area = newest;
        read_area(overlay);
    }
}

/* Whether a manifest may come next. */
static sel_status_t check(const sel_overlay_t *overlay, const uint8_t *manifest, sel_segment_kind_t kind)
{
    if (!sel_manifest_is_right(manifest) || sel_get16(manifest + SEL_MANIFEST_KIND) != kind) {
        return SEL_MALFORMED;
    }
    if (memcmp(manifest + SEL_MANIFEST_BEFORE, overlay->hash, sizeof overlay->hash) != 0) {
        return SEL_WRONG_BASE;
    }
    return sel_get64(manifest + SEL_MANIFEST_COUNTER) > overlay->counter ? SEL_OK : SEL_STALE_COUNTER;
}

static int is_pending(const sel_overlay_t *overlay, const uint8_t *manifest)
{
    return overlay->pending != 0 && overlay->depth < SEL_MOST_SEGMENTS &&
           memcmp(manifest_at(overlay, overlay->pending), manifest, SEL_MANIFEST_BYTES) == 0;
}

/* Makes room for a segment and `reserve` bytes after it, and writes its header. */
static sel_status_t append(sel_overlay_t *overlay, const uint8_t *manifest, uint32_t reserve,
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
    overlay->pending = 0;
    if (sel_flash_put(in_use(overlay), overlay->end, manifest, SEL_MANIFEST_BYTES) != 0) {
        return SEL_FLASH_FAULT;
    }
    overlay->pending = overlay->end;
    overlay->end += bytes;
    return SEL_OK;
}

sel_status_t sel_overlay_begin(sel_overlay_t *overlay, const uint8_t manifest[SEL_MANIFEST_BYTES],
                               uint32_t *needed, uint32_t *available)
{
    sel_status_t status = check(overlay, manifest, SEL_DELTA);
    if (status != SEL_OK || is_pending(overlay, manifest)) {
        return status;
    }
    return append(overlay, manifest, ROLLBACK_BYTES, needed, available);
}

uint32_t sel_overlay_bytes(const sel_overlay_t *overlay)
{
    if (overlay->pending == 0) {
        return 0;
    }
    return sel_get32(manifest_at(overlay, overlay->pending) + SEL_MANIFEST_PAYLOAD);
}

uint32_t sel_overlay_chunk(const sel_overlay_t *overlay, uint32_t number)
{
    const uint8_t *payload = manifest_at(overlay, overlay->pending) + SEL_PAGE_BYTES;
    uint32_t at = number * SEL_CHUNK_BYTES, left = sel_overlay_bytes(overlay) - at;
    return sel_crc32(0, payload + at, left < SEL_CHUNK_BYTES ? left : SEL_CHUNK_BYTES);
}

sel_status_t sel_overlay_write(sel_overlay_t *overlay, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    uint32_t all = sel_overlay_bytes(overlay), at = overlay->pending + SEL_PAGE_BYTES + offset;
    if (all == 0) {
        return SEL_INCOMPLETE;
    }
    if (offset >= all || offset % SEL_CHUNK_BYTES != 0 ||
        bytes != (all - offset < SEL_CHUNK_BYTES ? all - offset : SEL_CHUNK_BYTES)) {
        return SEL_MALFORMED;
    }
    if (!sel_flash_can_take(in_use(overlay), at, data, bytes)) {
        overlay->pending = 0;
        return SEL_INCOMPLETE;
    }
    return sel_flash_put(in_use(overlay), at, data, bytes) == 0 ? SEL_OK : SEL_FLASH_FAULT;
}

/* Commits the pending segment, of which all but that was checked. */
static sel_status_t keep(sel_overlay_t *overlay)
{
    uint32_t at = overlay->pending;
    if (sel_segment_commit(in_use(overlay), at) != 0) {
        overlay->pending = 0;
        return SEL_FLASH_FAULT;
    }
    take(overlay, at);
    overlay->counter = sel_get64(manifest_at(overlay, at) + SEL_MANIFEST_COUNTER);
    return SEL_OK;
}

const uint8_t *sel_overlay_previous(const sel_overlay_t *overlay)
{
    return overlay->depth > 0 ? hash_at(overlay, overlay->depth - 1u) : NULL;
}

int sel_overlay_is_newest(const sel_overlay_t *overlay, const uint8_t manifest[SEL_MANIFEST_BYTES])
{
    return overlay->newest != 0 &&
           memcmp(manifest_at(overlay, overlay->newest), manifest, SEL_MANIFEST_BYTES) == 0;
}

/* Whether the hash afterwards is that of the hash before and the pending payload. */
static int hash_is_right(const sel_overlay_t *overlay)
{
    const uint8_t *manifest = manifest_at(overlay, overlay->pending);
    uint8_t found[SEL_HASH_BYTES];
    sel_sha256_t hash;
    sel_sha256_begin(&hash);
    sel_sha256_add(&hash, (const uint8_t *)HASH_LABEL, sizeof HASH_LABEL);
    sel_sha256_add(&hash, overlay->hash, sizeof overlay->hash);
    sel_sha256_add(&hash, manifest + SEL_PAGE_BYTES, sel_overlay_bytes(overlay));
    sel_sha256_end(&hash, found);
    return memcmp(found, manifest + SEL_MANIFEST_AFTER, sizeof found) == 0;
}

sel_status_t sel_overlay_commit(sel_overlay_t *overlay, const uint8_t manifest[SEL_MANIFEST_BYTES],
                                uint32_t *reason)
{
    sel_status_t status;
    if (sel_overlay_is_newest(overlay, manifest)) {
        return SEL_OK;
    }
    status = check(overlay, manifest, SEL_DELTA);
    if (status != SEL_OK) {
        return status;
    }
    if (!is_pending(overlay, manifest) || !sel_segment_is_whole(in_use(overlay), overlay->pending) ||
        !hash_is_right(overlay)) {
        return SEL_INCOMPLETE;
    }
    status = sel_net_check(overlay->net, manifest_at(overlay, overlay->pending) + SEL_PAGE_BYTES,
                           sel_overlay_bytes(overlay), reason);
    return status == SEL_OK ? keep(overlay) : status;
}

sel_status_t sel_overlay_rollback(sel_overlay_t *overlay, const uint8_t manifest[SEL_MANIFEST_BYTES])
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
