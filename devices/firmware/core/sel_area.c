#include "sel_area.h"

#include <stddef.h>
#include <string.h>

#include "sel_crc.h"

#define MANIFEST_MARK 0x474C4553u /* SELG */
#define BLANK 0xFFu
#define MOST_DELTA_BYTES (1u << 20)

int sel_flash_is_blank(const sel_flash_t *flash, uint32_t offset, uint32_t bytes)
{
    const uint8_t *at = flash->map + offset, *end = at + bytes;
    while (at != end) {
        if (*at++ != BLANK) {
            return 0;
        }
    }
    return 1;
}

int sel_flash_put(const sel_flash_t *flash, uint32_t offset, const void *data, uint32_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        const uint8_t *at = flash->map + offset;
        uint32_t count = sel_least(bytes, SEL_PAGE_BYTES - offset % SEL_PAGE_BYTES);
        if (memcmp(at, from, count) != 0) {
            (void)flash->program(flash->context, offset, from, count);
            if (memcmp(at, from, count) != 0) {
                return 1;
            }
        }
        offset += count;
        from += count;
        bytes -= count;
    }
    return 0;
}

int sel_flash_invalidate(const sel_flash_t *flash)
{
    uint8_t zeros[sizeof(sel_area_t)]; /* the longest record at 0 */
    memset(zeros, 0, sizeof zeros);
    return !sel_flash_is_blank(flash, 0, sizeof zeros) && sel_flash_put(flash, 0, zeros, sizeof zeros) != 0;
}

int sel_flash_clear(const sel_flash_t *flash, uint32_t bytes)
{
    if (sel_flash_invalidate(flash) != 0) {
        return 1;
    }
    for (uint32_t at = 0; at < bytes; at += flash->erase_bytes) {
        (void)flash->erase(flash->context, at);
        if (!sel_flash_is_blank(flash, at, flash->erase_bytes)) {
            return 1;
        }
    }
    return 0;
}

static uint32_t chunk_bytes(const sel_place_t *place, uint32_t offset)
{
    return sel_least(place->bytes - offset, SEL_CHUNK_BYTES);
}

uint32_t sel_place_chunk(const sel_place_t *place, uint32_t number)
{
    uint32_t offset = number * SEL_CHUNK_BYTES;
    return sel_crc32(0, place->flash->map + place->at + offset, chunk_bytes(place, offset));
}

sel_status_t sel_place_write(const sel_place_t *place, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    const uint8_t *there;
    if (place->bytes == 0) {
        return SEL_INCOMPLETE;
    }
    if (offset >= place->bytes || offset % SEL_CHUNK_BYTES != 0 || bytes != chunk_bytes(place, offset)) {
        return SEL_MALFORMED;
    }
    there = place->flash->map + place->at + offset;
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t changed = data[i] ^ there[i], set = changed & data[i]; /* as programming cannot */
        if (set != 0 || (place->is_final && changed != 0)) {
            return SEL_INCOMPLETE;
        }
    }
    return sel_flash_put(place->flash, place->at + offset, data, bytes) == 0 ? SEL_OK : SEL_FLASH_FAULT;
}

int sel_record_is_right(const void *record, uint32_t mark, uint32_t version, uint32_t bytes)
{
    const uint32_t *words = record;
    uint32_t hashed = bytes - 4;
    return words[0] == mark && words[1] == version && words[hashed / 4] == sel_crc32(0, record, hashed);
}

int sel_record_put(const sel_flash_t *flash, uint32_t offset, void *record, uint32_t bytes)
{
    uint32_t hashed = bytes - 4;
    ((uint32_t *)record)[hashed / 4] = sel_crc32(0, record, hashed);
    return sel_flash_put(flash, offset, record, bytes);
}

int sel_commit_is_right(const sel_commit_t *commit, const uint8_t hash[SEL_HASH_BYTES])
{
    return sel_record_is_right(commit, SEL_COMMIT_MARK, 0, sizeof *commit) &&
           memcmp(commit->hash, hash, SEL_HASH_BYTES) == 0;
}

int sel_commit_put(const sel_flash_t *flash, uint32_t offset, const uint8_t hash[SEL_HASH_BYTES])
{
    sel_commit_t commit = {SEL_COMMIT_MARK, 0, {0}, 0};
    memcpy(commit.hash, hash, SEL_HASH_BYTES);
    return sel_record_put(flash, offset, &commit, sizeof commit);
}

const sel_area_t *sel_area(const sel_flash_t *flash)
{
    const sel_area_t *area = (const sel_area_t *)(const void *)flash->map;
    int is_right = sel_record_is_right(area, SEL_AREA_MARK, SEL_RECORD_VERSION, sizeof *area) &&
                   area->sequence + 1 > 1;
    return is_right ? area : NULL;
}

uint64_t sel_area_counter(const sel_flash_t *flash)
{
    uint64_t greatest = sel_area(flash)->least_counter;
    uint32_t at = SEL_SEGMENTS_AT;
    while (sel_segment_is_right(flash, at)) {
        const sel_manifest_t *segment = sel_segment_at(flash, at);
        if (segment->counter > greatest && sel_segment_is_committed(segment)) {
            greatest = segment->counter;
        }
        at += sel_segment_bytes(segment);
    }
    return greatest;
}

static uint32_t manifest_crc(const sel_manifest_t *manifest)
{
    uint32_t crc = sel_crc32(0, (const uint8_t *)manifest, offsetof(sel_manifest_t, crc));
    return sel_crc32(crc, manifest->before, sizeof *manifest - offsetof(sel_manifest_t, before));
}

int sel_manifest_is_right(const sel_manifest_t *manifest)
{
    uint32_t bytes = manifest->bytes;
    if (manifest->mark != MANIFEST_MARK || manifest->version != SEL_RECORD_VERSION || manifest->zero != 0 ||
        manifest->crc != manifest_crc(manifest)) {
        return 0;
    }
    if (manifest->kind == SEL_ROLLBACK) {
        return bytes == 0 && (manifest->depth == 1 || manifest->depth == SEL_TO_IMAGE) &&
               sel_segment_is_whole(manifest);
    }
    return bytes > 0 && bytes % 4 == 0 && manifest->depth == 0 &&
           (manifest->kind == SEL_SNAPSHOT || (manifest->kind == SEL_DELTA && bytes <= MOST_DELTA_BYTES));
}

void sel_manifest_seal(sel_manifest_t *manifest)
{
    manifest->mark = MANIFEST_MARK;
    manifest->version = SEL_RECORD_VERSION;
    manifest->zero = 0;
    manifest->crc = manifest_crc(manifest);
}

uint32_t sel_segment_bytes(const sel_manifest_t *manifest)
{
    uint32_t pages = manifest->bytes / SEL_PAGE_BYTES + (manifest->bytes % SEL_PAGE_BYTES != 0);
    return (2 + pages) * SEL_PAGE_BYTES;
}

static const sel_commit_t *commit_of(const sel_manifest_t *segment)
{
    uint32_t at = sel_segment_bytes(segment) - SEL_PAGE_BYTES;
    return (const sel_commit_t *)(const void *)((const uint8_t *)segment + at);
}

int sel_segment_is_right(const sel_flash_t *flash, uint32_t at)
{
    const sel_manifest_t *segment = sel_segment_at(flash, at);
    uint32_t room = flash->bytes - at;
    return room >= 2 * SEL_PAGE_BYTES && sel_manifest_is_right(segment) &&
           segment->bytes <= room - 2 * SEL_PAGE_BYTES;
}

int sel_segment_is_committed(const sel_manifest_t *segment)
{
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256((const uint8_t *)segment, sizeof *segment, hash);
    return sel_commit_is_right(commit_of(segment), hash);
}

int sel_segment_is_whole(const sel_manifest_t *segment)
{
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256(sel_segment_payload(segment), segment->bytes, hash);
    return memcmp(hash, segment->payload_hash, sizeof hash) == 0;
}

int sel_segment_commit(const sel_flash_t *flash, const sel_manifest_t *segment)
{
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256((const uint8_t *)segment, sizeof *segment, hash);
    return sel_commit_put(flash, (uint32_t)((const uint8_t *)commit_of(segment) - flash->map), hash);
}
