/* image begin, data, commit */
#include "sel_messages.h"
#include "sel_store.h"

#define CONTENT_BYTES (4u + SEL_HASH_BYTES) /* what the MAC is of: bytes of the image, its hash */
#define LABEL "sel-edge image 1"

static int runs(const sel_device_t *device, const uint8_t *hash)
{
    return device->has_image && memcmp(sel_image_hash(&device->image), hash, SEL_HASH_BYTES) == 0;
}

void sel_image_begin(sel_device_t *device, const sel_request_t *request)
{
    const sel_flash_t *flash = device->board->image;
    const uint8_t *hash = request->fields + 4;
    uint32_t bytes = sel_get32(request->fields);
    uint32_t needed = 0, available = 0;
    sel_status_t status;
    if (!sel_is_authentic(device, request, LABEL, request->fields, CONTENT_BYTES,
                          request->fields + CONTENT_BYTES)) {
        return;
    }
    if (!runs(device, hash) || device->image.bytes != bytes) {
        device->has_image = 0;
        device->faults |= SEL_FAULT_NO_IMAGE;
        sel_samples_clear(&device->samples);
    }
    status = sel_store_begin(flash, bytes, hash, &needed, &available);
    if (status != SEL_OK) {
        sel_start_network(device);
        sel_refuse(device, request, status, needed, available);
        return;
    }
    device->transfer = SEL_IMAGE_TRANSFER;
    sel_answer_chunks(device, request, bytes);
    for (uint32_t at = 0, i = 0; at < bytes; at += SEL_CHUNK_BYTES, i++) {
        sel_add_chunk(device, sel_store_chunk(flash, i));
    }
}

void sel_image_data(sel_device_t *device, const sel_request_t *request)
{
    sel_status_t status = SEL_INCOMPLETE;
    if (device->transfer == SEL_IMAGE_TRANSFER && !device->has_image) {
        status = sel_store_write(device->board->image, sel_get32(request->fields), request->fields + 4,
                                 request->bytes - 4);
    }
    sel_answer_data(device, request, status);
}

static void answer_installed(sel_device_t *device, const sel_request_t *request)
{
    uint8_t fields[SEL_HASH_BYTES + SEL_NONCE_BYTES];
    uint8_t *at = sel_add_bytes(fields, sel_image_hash(&device->image), SEL_HASH_BYTES);
    at = sel_add_bytes(at, device->nonce, SEL_NONCE_BYTES);
    sel_answer(device, request, SEL_OK, fields, (uint32_t)(at - fields));
}

/* Checks the image in the partition, and that the board has the memory for it, before it is committed. */
static sel_status_t commit(const sel_device_t *device, uint32_t bytes, const uint8_t *hash, uint32_t *reason)
{
    const sel_flash_t *flash = device->board->image;
    sel_image_t image;
    if (sel_image_open(&image, flash->map + SEL_IMAGE_AT, bytes, reason) == SEL_OK &&
        sel_fits_memory(device, &image, reason) != SEL_OK) {
        return SEL_IMAGE_REFUSED;
    }
    return sel_store_commit(flash, hash, reason);
}

void sel_image_commit(sel_device_t *device, const sel_request_t *request)
{
    const uint8_t *hash = request->fields;
    uint8_t content[CONTENT_BYTES];
    uint32_t bytes = sel_store_bytes(device->board->image);
    uint32_t reason = 0;
    sel_status_t status;
    if (runs(device, hash)) {
        answer_installed(device, request);
        return;
    }
    sel_add_bytes(sel_add32(content, bytes), hash, SEL_HASH_BYTES);
    if (!sel_is_authentic(device, request, LABEL, content, CONTENT_BYTES, hash + SEL_HASH_BYTES)) {
        return;
    }
    status = commit(device, bytes, hash, &reason);
    if (status == SEL_OK) {
        sel_renew_nonce(device);
        sel_start_network(device);
        answer_installed(device, request);
    } else {
        sel_refuse(device, request, status, reason, 0);
    }
}
