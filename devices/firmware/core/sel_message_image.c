/* image begin, commit; the data of images and deltas */
#include "sel_bytes.h"
#include "sel_messages.h"
#include "sel_store.h"

#define LABEL "sel-edge image 1"

/* What the MAC is of. */
typedef struct {
    uint32_t bytes;
    uint8_t hash[SEL_HASH_BYTES];
} content_t;
SEL_LIES_AS(content_t, 36);

static int runs(const sel_device_t *device, const uint8_t *hash)
{
    return device->has_image && memcmp(sel_image_hash(&device->image), hash, SEL_HASH_BYTES) == 0;
}

sel_status_t sel_image_begin(sel_device_t *device, sel_request_t *request)
{
    const sel_flash_t *flash = device->board->image;
    content_t content;
    sel_image_t image;
    sel_place_t place;
    sel_status_t status;
    uint32_t reason;
    memcpy(&content, request->fields, sizeof content);
    status = sel_authenticate_begin(device, request, LABEL, &content, sizeof content);
    if (status != SEL_OK) {
        return status;
    }
    status = sel_store_begin(flash, content.bytes, content.hash, &request->numbers[0], &request->numbers[1]);
    if (device->has_image && sel_store_open(flash, &image, &reason) != SEL_OK) {
        device->has_image = 0;
        device->faults |= SEL_FAULT_NO_IMAGE;
        sel_samples_clear(&device->samples);
    }
    if (status == SEL_OK) {
        device->transfer = SEL_IMAGE_DATA;
        sel_store_place(flash, &place);
        sel_answer_chunks(device, request, &place);
    }
    return status;
}

sel_status_t sel_transfer(sel_device_t *device, sel_request_t *request)
{
    uint32_t offset = sel_get32(request->fields), bytes = request->bytes - 4;
    const uint8_t *data = request->fields + 4;
    sel_status_t status = SEL_INCOMPLETE;
    if (request->operation != device->transfer) {
        return SEL_INCOMPLETE;
    }
    if (device->transfer == SEL_DELTA_DATA) {
        status = sel_overlay_write(&device->overlay, offset, data, bytes);
    } else if (!device->has_image) {
        status = sel_store_write(device->board->image, offset, data, bytes);
    }
    if (status == SEL_INCOMPLETE) {
        device->transfer = SEL_NO_DATA; /* of which something cannot be programmed */
        sel_renew_nonce(device);
    }
    if (status == SEL_OK) {
        sel_answer(device, request, SEL_OK, &offset, sizeof offset);
    }
    return status;
}

/* Checks the image in the partition, and that the board has the memory for it, before it is committed. */
static sel_status_t commit(const sel_device_t *device, const content_t *content, uint32_t *reason)
{
    const sel_flash_t *flash = device->board->image;
    sel_image_t image;
    if (sel_image_open(&image, flash->map + SEL_IMAGE_AT, content->bytes, reason) == SEL_OK &&
        sel_fits_memory(device, &image, reason) != SEL_OK) {
        return SEL_IMAGE_REFUSED;
    }
    return sel_store_commit(flash, content->hash, reason);
}

sel_status_t sel_image_commit(sel_device_t *device, sel_request_t *request)
{
    uint8_t fields[SEL_HASH_BYTES + SEL_NONCE_BYTES];
    content_t content;
    sel_place_t place;
    sel_status_t status = SEL_OK;
    sel_store_place(device->board->image, &place);
    content.bytes = place.bytes;
    memcpy(content.hash, request->fields, sizeof content.hash);
    if (!runs(device, content.hash)) {
        status = sel_authenticate(device, request, LABEL, &content, sizeof content);
        if (status == SEL_OK) {
            status = commit(device, &content, request->numbers);
        }
        if (status == SEL_OK) {
            sel_renew_nonce(device);
            sel_start_network(device);
        }
    }
    if (status == SEL_OK) {
        memcpy(fields, content.hash, SEL_HASH_BYTES);
        memcpy(fields + SEL_HASH_BYTES, device->nonce, SEL_NONCE_BYTES);
        sel_answer(device, request, SEL_OK, fields, sizeof fields);
    }
    return status;
}
