/* delta begin, commit; rollback */
#include "sel_messages.h"

/* What commit and rollback answer. */
typedef struct {
    uint8_t hash[SEL_HASH_BYTES];
    sel_u64_t counter;
    uint8_t nonce[SEL_NONCE_BYTES];
} kept_t;
SEL_LIES_AS(kept_t, 56);

sel_status_t sel_delta_begin(sel_device_t *device, sel_request_t *request)
{
    sel_manifest_t manifest;
    sel_place_t place;
    sel_status_t status;
    if (!device->has_image) {
        return SEL_NO_IMAGE;
    }
    memcpy(&manifest, request->fields, sizeof manifest);
    status = sel_authenticate_begin(device, request, "sel-edge begin 1", &manifest, sizeof manifest);
    if (status == SEL_OK) {
        status = sel_overlay_begin(&device->overlay, &manifest, &request->numbers[0], &request->numbers[1]);
    }
    if (status == SEL_OK) {
        device->transfer = SEL_DELTA_DATA;
        sel_overlay_place(&device->overlay, &place);
        sel_answer_chunks(device, request, &place);
    }
    return status;
}

/* Does what a commit or a rollback asks for. */
static sel_status_t keep(sel_device_t *device, sel_request_t *request, const sel_manifest_t *manifest)
{
    int is_commit = request->operation == SEL_DELTA_COMMIT;
    const char *label = is_commit ? "sel-edge keep  1" : "sel-edge back  1";
    sel_status_t status = sel_authenticate(device, request, label, manifest, sizeof *manifest);
    if (status == SEL_OK) {
        status = is_commit ? sel_overlay_commit(&device->overlay, manifest, request->numbers)
                           : sel_overlay_rollback(&device->overlay, manifest);
    }
    if (status == SEL_OK) {
        device->transfer = SEL_NO_DATA;
        sel_renew_nonce(device);
        sel_log_number(&device->log, is_commit ? "delta kept, counter " : "rolled back, counter ",
                       (uint32_t)device->overlay.counter);
    }
    return status;
}

sel_status_t sel_delta_keep(sel_device_t *device, sel_request_t *request)
{
    const sel_overlay_t *overlay = &device->overlay;
    sel_manifest_t manifest;
    sel_status_t status = SEL_OK;
    kept_t kept;
    if (!device->has_image) {
        return SEL_NO_IMAGE;
    }
    memcpy(&manifest, request->fields, sizeof manifest);
    if (!sel_overlay_is_newest(overlay, &manifest)) {
        status = keep(device, request, &manifest);
    }
    if (status == SEL_OK) {
        memcpy(kept.hash, overlay->hash, sizeof kept.hash);
        kept.counter = overlay->counter;
        memcpy(kept.nonce, device->nonce, sizeof kept.nonce);
        sel_answer(device, request, SEL_OK, &kept, sizeof kept);
    }
    return status;
}
