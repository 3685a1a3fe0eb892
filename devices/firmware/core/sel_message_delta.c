/* delta begin, data, commit; rollback */
#include "sel_messages.h"

static void answer_kept(sel_device_t *device, const sel_request_t *request)
{
    uint8_t fields[SEL_HASH_BYTES + 8 + SEL_NONCE_BYTES];
    uint8_t *at = sel_add_bytes(fields, device->overlay.hash, SEL_HASH_BYTES);
    at = sel_add64(at, device->overlay.counter);
    at = sel_add_bytes(at, device->nonce, SEL_NONCE_BYTES);
    sel_answer(device, request, SEL_OK, fields, (uint32_t)(at - fields));
}

void sel_delta_begin(sel_device_t *device, const sel_request_t *request)
{
    const uint8_t *manifest = request->fields;
    uint32_t needed = 0, available = 0, bytes;
    sel_status_t status;
    if (!device->has_image) {
        sel_answer(device, request, SEL_NO_IMAGE, NULL, 0);
        return;
    }
    if (!sel_is_authentic(device, request, "sel-edge begin 1", manifest, SEL_MANIFEST_BYTES,
                          manifest + SEL_MANIFEST_BYTES)) {
        return;
    }
    status = sel_overlay_begin(&device->overlay, manifest, &needed, &available);
    if (status != SEL_OK) {
        sel_refuse(device, request, status, needed, available);
        return;
    }
    device->transfer = SEL_DELTA_TRANSFER;
    bytes = sel_overlay_bytes(&device->overlay);
    sel_answer_chunks(device, request, bytes);
    for (uint32_t at = 0, i = 0; at < bytes; at += SEL_CHUNK_BYTES, i++) {
        sel_add_chunk(device, sel_overlay_chunk(&device->overlay, i));
    }
}

void sel_delta_data(sel_device_t *device, const sel_request_t *request)
{
    sel_status_t status = SEL_INCOMPLETE;
    if (device->transfer == SEL_DELTA_TRANSFER) {
        status = sel_overlay_write(&device->overlay, sel_get32(request->fields), request->fields + 4,
                                   request->bytes - 4);
    }
    sel_answer_data(device, request, status);
}

/* What commit and rollback have in common around what they do to the overlay. */
static void keep(sel_device_t *device, const sel_request_t *request, const char *label, const char *done,
                 sel_status_t (*change)(sel_overlay_t *, const uint8_t *, uint32_t *))
{
    const uint8_t *manifest = request->fields;
    uint32_t reason = 0;
    sel_status_t status;
    if (!device->has_image) {
        sel_answer(device, request, SEL_NO_IMAGE, NULL, 0);
        return;
    }
    if (!sel_overlay_is_newest(&device->overlay, manifest)) {
        if (!sel_is_authentic(device, request, label, manifest, SEL_MANIFEST_BYTES,
                              manifest + SEL_MANIFEST_BYTES)) {
            return;
        }
        status = change(&device->overlay, manifest, &reason);
        if (status != SEL_OK) {
            sel_refuse(device, request, status, reason, 0);
            return;
        }
        device->transfer = SEL_NO_TRANSFER;
        sel_renew_nonce(device);
        sel_log_text(&device->log, done);
        sel_log_number(&device->log, (uint32_t)device->overlay.counter);
        sel_log_text(&device->log, "\n");
    }
    answer_kept(device, request);
}

static sel_status_t roll_back(sel_overlay_t *overlay, const uint8_t *manifest, uint32_t *reason)
{
    (void)reason;
    return sel_overlay_rollback(overlay, manifest);
}

void sel_delta_commit(sel_device_t *device, const sel_request_t *request)
{
    keep(device, request, "sel-edge keep  1", "delta kept, counter ", sel_overlay_commit);
}

void sel_rollback(sel_device_t *device, const sel_request_t *request)
{
    keep(device, request, "sel-edge back  1", "rolled back, counter ", roll_back);
}
