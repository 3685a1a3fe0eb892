#include "sel_store.h"

#include <string.h>

#include "sel_area.h"
#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_overlay.h"
#include "sel_sha256.h"

#define VERSION 1u
#define RECORD_BYTES 48u
#define RECORD_HASH 12u
#define RECORD_CRC 44u
#define COMMIT_AT 256u
#define HASHED_FROM 48u /* of an image */

static int record_is_right(const sel_flash_t *flash)
{
    const uint8_t *record = flash->map;
    uint32_t bytes = sel_get32(record + 8);
    return memcmp(record, "SELI", 4) == 0 && sel_get32(record + 4) == VERSION &&
           sel_get32(record + RECORD_CRC) == sel_crc32(0, record, RECORD_CRC) &&
           bytes >= SEL_IMAGE_HEADER_BYTES && bytes <= flash->bytes - SEL_IMAGE_AT;
}

static int is_committed(const sel_flash_t *flash)
{
    return sel_commit_is_right(flash->map + COMMIT_AT, flash->map + RECORD_HASH);
}

static int is_of(const sel_flash_t *flash, const uint8_t hash[32])
{
    return memcmp(flash->map + RECORD_HASH, hash, 32) == 0;
}

static int put_record(const sel_flash_t *flash, uint32_t bytes, const uint8_t hash[32])
{
    uint8_t record[RECORD_BYTES];
    memcpy(record, "SELI", 4);
    sel_put32(record + 4, VERSION);
    sel_put32(record + 8, bytes);
    memcpy(record + RECORD_HASH, hash, 32);
    sel_put32(record + RECORD_CRC, sel_crc32(0, record, RECORD_CRC));
    return sel_flash_put(flash, 0, record, sizeof record);
}

/* The image that the record is of, committed or not. */
static sel_status_t open_recorded(const sel_flash_t *flash, sel_image_t *image, uint32_t *reason)
{
    uint32_t bytes = sel_get32(flash->map + 8);
    sel_status_t status = sel_image_open(image, flash->map + SEL_IMAGE_AT, bytes, reason);
    if (status == SEL_OK && (image->bytes != bytes || !is_of(flash, sel_image_hash(image)))) {
        *reason = 0;
        return SEL_IMAGE_REFUSED;
    }
    return status;
}

sel_status_t sel_store_open(const sel_flash_t *flash, sel_image_t *image, uint32_t *reason)
{
    if (!record_is_right(flash) || !is_committed(flash)) {
        return SEL_NO_IMAGE;
    }
    return open_recorded(flash, image, reason);
}

sel_status_t sel_store_begin(const sel_flash_t *flash, uint32_t bytes, const uint8_t hash[32],
                             uint32_t *needed, uint32_t *available)
{
    *needed = bytes;
    *available = flash->bytes - SEL_IMAGE_AT;
    if (bytes < SEL_IMAGE_HEADER_BYTES) {
        return SEL_MALFORMED;
    }
    if (bytes > *available) {
        return SEL_FULL;
    }
    if (record_is_right(flash) && sel_store_bytes(flash) == bytes && is_of(flash, hash)) {
        sel_image_t image;
        uint32_t reason;
        if (!is_committed(flash) || open_recorded(flash, &image, &reason) == SEL_OK) {
            return SEL_OK;
        }
    }
    if (sel_flash_clear(flash, SEL_IMAGE_AT + bytes) != 0 ||
        put_record(flash, bytes, hash) != 0) {
        return SEL_FLASH_FAULT;
    }
    return SEL_OK;
}

uint32_t sel_store_bytes(const sel_flash_t *flash)
{
    return record_is_right(flash) ? sel_get32(flash->map + 8) : 0;
}

uint32_t sel_store_chunk(const sel_flash_t *flash, uint32_t number)
{
    uint32_t at = number * SEL_CHUNK_BYTES, left = sel_store_bytes(flash) - at;
    return sel_crc32(0, flash->map + SEL_IMAGE_AT + at, left < SEL_CHUNK_BYTES ? left : SEL_CHUNK_BYTES);
}

sel_status_t sel_store_write(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    uint32_t all = sel_store_bytes(flash), at = SEL_IMAGE_AT + offset;
    if (all == 0) {
        return SEL_INCOMPLETE;
    }
    if (offset >= all || offset % SEL_CHUNK_BYTES != 0 ||
        bytes != (all - offset < SEL_CHUNK_BYTES ? all - offset : SEL_CHUNK_BYTES)) {
        return SEL_MALFORMED;
    }
    if (is_committed(flash)) {
        return memcmp(flash->map + at, data, bytes) == 0 ? SEL_OK : SEL_INCOMPLETE;
    }
    if (!sel_flash_can_take(flash, at, data, bytes)) {
        return sel_flash_invalidate(flash) == 0 ? SEL_INCOMPLETE : SEL_FLASH_FAULT; /* begin will erase */
    }
    return sel_flash_put(flash, at, data, bytes) == 0 ? SEL_OK : SEL_FLASH_FAULT;
}

sel_status_t sel_store_commit(const sel_flash_t *flash, const uint8_t hash[32], uint32_t *reason)
{
    sel_image_t image;
    sel_status_t status;
    uint8_t found[SEL_HASH_BYTES];
    if (!record_is_right(flash) || !is_of(flash, hash)) {
        return SEL_INCOMPLETE;
    }
    sel_sha256(flash->map + SEL_IMAGE_AT + HASHED_FROM, sel_store_bytes(flash) - HASHED_FROM, found);
    if (memcmp(found, hash, sizeof found) != 0) {
        return SEL_INCOMPLETE;
    }
    status = open_recorded(flash, &image, reason);
    if (status == SEL_OK && sel_commit_put(flash, COMMIT_AT, hash) != 0) {
        return SEL_FLASH_FAULT;
    }
    return status;
}
