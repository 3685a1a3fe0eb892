#include "sel_store.h"

#include <string.h>

#include "sel_sha256.h"

#define COMMIT_AT 256u
#define HASHED_FROM 48u /* of an image */

/* The record at 0. */
typedef struct {
    uint32_t mark, version;
    uint32_t bytes;
    uint8_t hash[SEL_HASH_BYTES];
    uint32_t crc;
} record_t;
SEL_LIES_AS(record_t, 48);

/* NULL if it is not right. */
static const record_t *record_of(const sel_flash_t *flash)
{
    const record_t *record = (const record_t *)(const void *)flash->map;
    int is_right = sel_record_is_right(record, SEL_IMAGE_MARK, SEL_RECORD_VERSION, sizeof *record) &&
                   record->bytes >= SEL_IMAGE_HEADER_BYTES && record->bytes <= flash->bytes - SEL_IMAGE_AT;
    return is_right ? record : NULL;
}

static int is_committed(const sel_flash_t *flash, const record_t *record)
{
    return sel_commit_is_right((const sel_commit_t *)(const void *)(flash->map + COMMIT_AT), record->hash);
}

static int is_of(const record_t *record, const uint8_t hash[SEL_HASH_BYTES])
{
    return record != NULL && memcmp(record->hash, hash, SEL_HASH_BYTES) == 0;
}

/* The image that the record is of, committed or not. */
static sel_status_t open_recorded(const sel_flash_t *flash, const record_t *record, sel_image_t *image,
                                  uint32_t *reason)
{
    sel_status_t status = sel_image_open(image, flash->map + SEL_IMAGE_AT, record->bytes, reason);
    if (status == SEL_OK && (image->bytes != record->bytes || !is_of(record, sel_image_hash(image)))) {
        *reason = 0;
        return SEL_IMAGE_REFUSED;
    }
    return status;
}

sel_status_t sel_store_open(const sel_flash_t *flash, sel_image_t *image, uint32_t *reason)
{
    const record_t *record = record_of(flash);
    if (record == NULL || !is_committed(flash, record)) {
        return SEL_NO_IMAGE;
    }
    return open_recorded(flash, record, image, reason);
}

sel_status_t sel_store_begin(const sel_flash_t *flash, uint32_t bytes, const uint8_t hash[SEL_HASH_BYTES],
                             uint32_t *needed, uint32_t *available)
{
    const record_t *before = record_of(flash);
    record_t record = {SEL_IMAGE_MARK, SEL_RECORD_VERSION, bytes, {0}, 0};
    sel_image_t image;
    uint32_t reason;
    *needed = bytes;
    *available = flash->bytes - SEL_IMAGE_AT;
    if (bytes < SEL_IMAGE_HEADER_BYTES) {
        return SEL_MALFORMED;
    }
    if (bytes > *available) {
        return SEL_FULL;
    }
    if (is_of(before, hash) && before->bytes == bytes &&
        (!is_committed(flash, before) || open_recorded(flash, before, &image, &reason) == SEL_OK)) {
        return SEL_OK;
    }
    memcpy(record.hash, hash, sizeof record.hash);
    if (sel_flash_clear(flash, SEL_IMAGE_AT + bytes) != 0 ||
        sel_record_put(flash, 0, &record, sizeof record) != 0) {
        return SEL_FLASH_FAULT;
    }
    return SEL_OK;
}

void sel_store_place(const sel_flash_t *flash, sel_place_t *place)
{
    const record_t *record = record_of(flash);
    place->flash = flash;
    place->at = SEL_IMAGE_AT;
    place->bytes = record != NULL ? record->bytes : 0;
    place->is_final = record != NULL && is_committed(flash, record);
}

sel_status_t sel_store_write(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    sel_place_t place;
    sel_status_t status;
    sel_store_place(flash, &place);
    status = sel_place_write(&place, offset, data, bytes);
    if (status == SEL_INCOMPLETE && place.bytes > 0 && !place.is_final && sel_flash_invalidate(flash) != 0) {
        return SEL_FLASH_FAULT;
    }
    return status; /* without its record the next begin erases */
}

sel_status_t sel_store_commit(const sel_flash_t *flash, const uint8_t hash[SEL_HASH_BYTES], uint32_t *reason)
{
    const record_t *record = record_of(flash);
    sel_image_t image;
    sel_status_t status;
    uint8_t found[SEL_HASH_BYTES];
    if (!is_of(record, hash)) {
        return SEL_INCOMPLETE;
    }
    sel_sha256(flash->map + SEL_IMAGE_AT + HASHED_FROM, record->bytes - HASHED_FROM, found);
    if (!is_of(record, found)) {
        return SEL_INCOMPLETE;
    }
    status = open_recorded(flash, record, &image, reason);
    if (status == SEL_OK && sel_commit_put(flash, COMMIT_AT, hash) != 0) {
        return SEL_FLASH_FAULT;
    }
    return status;
}
