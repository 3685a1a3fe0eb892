#include "sel_area.h"

#include <string.h>

#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_overlay.h"
#include "sel_sha256.h"

#define VERSION 1u
#define HEADER_BYTES 60u /* of an area; the longest record at 0 */
#define HEADER_CRC 56u
#define COMMIT_CRC 40u
#define MOST_DELTA_BYTES (1u << 20)

int sel_flash_is_blank(const sel_flash_t *flash, uint32_t offset, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (flash->map[offset + i] != SEL_BLANK) {
            return 0;
        }
    }
    return 1;
}

int sel_flash_can_take(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if ((flash->map[offset + i] & data[i]) != data[i]) {
            return 0;
        }
    }
    return 1;
}

int sel_flash_put(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    while (bytes > 0) {
        uint32_t room = SEL_PAGE_BYTES - offset % SEL_PAGE_BYTES;
        uint32_t count = bytes < room ? bytes : room;
        if (memcmp(flash->map + offset, data, count) != 0) {
            (void)flash->program(flash->context, offset, data, count);
        }
        if (memcmp(flash->map + offset, data, count) != 0) {
            return 1;
        }
        offset += count;
        data += count;
        bytes -= count;
    }
    return 0;
}

int sel_flash_invalidate(const sel_flash_t *flash)
{
    static const uint8_t zeros[HEADER_BYTES];
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

static void commit_record(uint8_t record[SEL_COMMIT_BYTES], const uint8_t hash[32])
{
    memcpy(record, "SELC", 4);
    sel_put32(record + 4, 0);
    memcpy(record + 8, hash, 32);
    sel_put32(record + COMMIT_CRC, sel_crc32(0, record, COMMIT_CRC));
}

int sel_commit_is_right(const uint8_t *at, const uint8_t hash[32])
{
    uint8_t record[SEL_COMMIT_BYTES];
    commit_record(record, hash);
    return memcmp(at, record, sizeof record) == 0;
}

int sel_commit_put(const sel_flash_t *flash, uint32_t offset, const uint8_t hash[32])
{
    uint8_t record[SEL_COMMIT_BYTES];
    commit_record(record, hash);
    return sel_flash_put(flash, offset, record, sizeof record);
}

int sel_area_read(const sel_flash_t *flash, sel_area_t *area)
{
    const uint8_t *header = flash->map;
    area->sequence = sel_get32(header + 8);
    area->erases = sel_get32(header + 12);
    area->least_counter = sel_get64(header + 16);
    area->image_hash = header + 24;
    return memcmp(header, "SELA", 4) == 0 && sel_get32(header + 4) == VERSION && area->sequence + 1 > 1 &&
           sel_get32(header + HEADER_CRC) == sel_crc32(0, header, HEADER_CRC);
}

int sel_area_put(const sel_flash_t *flash, const sel_area_t *area)
{
    uint8_t header[HEADER_BYTES];
    memcpy(header, "SELA", 4);
    sel_put32(header + 4, VERSION);
    sel_put32(header + 8, area->sequence);
    sel_put32(header + 12, area->erases);
    sel_put64(header + 16, area->least_counter);
    memcpy(header + 24, area->image_hash, 32);
    sel_put32(header + HEADER_CRC, sel_crc32(0, header, HEADER_CRC));
    return sel_flash_put(flash, 0, header, sizeof header);
}

uint64_t sel_area_counter(const sel_flash_t *flash, const sel_area_t *area)
{
    uint64_t greatest = area->least_counter;
    uint32_t at = SEL_SEGMENTS_AT;
    while (sel_segment_is_right(flash, at)) {
        uint64_t counter = sel_get64(flash->map + at + SEL_MANIFEST_COUNTER);
        if (counter > greatest && sel_segment_is_committed(flash, at)) {
            greatest = counter;
        }
        at += sel_segment_bytes(flash->map + at);
    }
    return greatest;
}

static uint32_t manifest_crc(const uint8_t *manifest)
{
    uint32_t crc = sel_crc32(0, manifest, SEL_MANIFEST_CRC);
    return sel_crc32(crc, manifest + SEL_MANIFEST_BEFORE, SEL_MANIFEST_BYTES - SEL_MANIFEST_BEFORE);
}

int sel_manifest_is_right(const uint8_t *manifest)
{
    uint32_t payload = sel_get32(manifest + SEL_MANIFEST_PAYLOAD);
    uint32_t depth = sel_get32(manifest + SEL_MANIFEST_DEPTH);
    uint8_t nothing[SEL_HASH_BYTES];
    if (memcmp(manifest, "SELG", 4) != 0 || sel_get16(manifest + 4) != VERSION ||
        sel_get32(manifest + SEL_MANIFEST_CRC - 4) != 0 ||
        sel_get32(manifest + SEL_MANIFEST_CRC) != manifest_crc(manifest)) {
        return 0;
    }
    switch (sel_get16(manifest + SEL_MANIFEST_KIND)) {
    case SEL_DELTA:
        return payload > 0 && payload % 4 == 0 && payload <= MOST_DELTA_BYTES && depth == 0;
    case SEL_SNAPSHOT:
        return payload > 0 && payload % 4 == 0 && depth == 0;
    case SEL_ROLLBACK:
        sel_sha256(manifest, 0, nothing);
        return payload == 0 && (depth == 1 || depth == SEL_TO_IMAGE) &&
               memcmp(manifest + SEL_MANIFEST_SHA, nothing, sizeof nothing) == 0;
    default:
        return 0;
    }
}

void sel_manifest_seal(uint8_t *manifest)
{
    memcpy(manifest, "SELG", 4);
    sel_put16(manifest + 4, VERSION);
    sel_put32(manifest + SEL_MANIFEST_CRC - 4, 0);
    sel_put32(manifest + SEL_MANIFEST_CRC, manifest_crc(manifest));
}

/* The payload of a segment, rounded up to pages. */
static uint32_t payload_room(const uint8_t *manifest)
{
    uint32_t payload = sel_get32(manifest + SEL_MANIFEST_PAYLOAD);
    return payload / SEL_PAGE_BYTES * SEL_PAGE_BYTES + (payload % SEL_PAGE_BYTES ? SEL_PAGE_BYTES : 0);
}

uint32_t sel_segment_bytes(const uint8_t *manifest)
{
    return 2 * SEL_PAGE_BYTES + payload_room(manifest);
}

int sel_segment_is_right(const sel_flash_t *flash, uint32_t at)
{
    const uint8_t *manifest = flash->map + at;
    return flash->bytes - at >= 2 * SEL_PAGE_BYTES && sel_manifest_is_right(manifest) &&
           sel_get32(manifest + SEL_MANIFEST_PAYLOAD) <= flash->bytes - at - 2 * SEL_PAGE_BYTES;
}

int sel_segment_is_committed(const sel_flash_t *flash, uint32_t at)
{
    const uint8_t *manifest = flash->map + at;
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256(manifest, SEL_MANIFEST_BYTES, hash);
    return sel_commit_is_right(manifest + SEL_PAGE_BYTES + payload_room(manifest), hash);
}

int sel_segment_is_whole(const sel_flash_t *flash, uint32_t at)
{
    const uint8_t *manifest = flash->map + at;
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256(manifest + SEL_PAGE_BYTES, sel_get32(manifest + SEL_MANIFEST_PAYLOAD), hash);
    return memcmp(hash, manifest + SEL_MANIFEST_SHA, sizeof hash) == 0;
}

int sel_segment_commit(const sel_flash_t *flash, uint32_t at)
{
    const uint8_t *manifest = flash->map + at;
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256(manifest, SEL_MANIFEST_BYTES, hash);
    return sel_commit_put(flash, at + SEL_PAGE_BYTES + payload_room(manifest), hash);
}
