/* hello, status, time, log, reboot, provision */
#include "sel_hmac.h"
#include "sel_messages.h"

#define MESSAGE_VERSION 1u
#define LOG_ANSWER_BYTES 1024u
#define KEY_BYTES 32u

enum { CAN_KEY_PRESENT = 1, CAN_SET_KEY = 2, CAN_IMAGE_PRESENT = 4, CAN_REBOOT = 8 };

/* The answer to hello, before the longest message and the abilities. */
typedef struct {
    uint8_t version, zero;
    uint8_t device_id[8];
    uint16_t firmware_major, firmware_minor;
    uint16_t fragment_bytes, window;
} hello_t;
SEL_LIES_AS(hello_t, 18);

typedef struct {
    uint8_t image_hash[SEL_HASH_BYTES], hash[SEL_HASH_BYTES], previous[SEL_HASH_BYTES];
    uint8_t nonce[SEL_NONCE_BYTES];
    sel_u64_t counter, time_ms;
    uint32_t uptime_ms, frames, samples_lost;
    uint16_t samples_waiting, classes;
    uint32_t overlay_end, overlay_room, erases;
    uint16_t depth, faults;
    uint32_t frames_dropped;
} status_t;
SEL_LIES_AS(status_t, 164);

sel_status_t sel_hello(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    uint32_t numbers[2] = {device->board->memory.message_bytes, 0};
    hello_t hello = {MESSAGE_VERSION, 0, {0}, SEL_FIRMWARE_MAJOR, SEL_FIRMWARE_MINOR, SEL_FRAGMENT_BYTES,
                     device->board->window};
    if (request->fields[0] > MESSAGE_VERSION || request->fields[1] < MESSAGE_VERSION) {
        request->numbers[0] = MESSAGE_VERSION | MESSAGE_VERSION << 8;
        return SEL_VERSION;
    }
    memcpy(hello.device_id, port->device_id, sizeof hello.device_id);
    numbers[1] |= port->has_key(port->context) ? CAN_KEY_PRESENT : 0u;
    numbers[1] |= port->set_key != NULL ? CAN_SET_KEY : 0u;
    numbers[1] |= device->has_image ? CAN_IMAGE_PRESENT : 0u;
    numbers[1] |= port->reboot != NULL ? CAN_REBOOT : 0u;
    sel_answer_begin(device, request, SEL_OK, sizeof hello + sizeof numbers);
    sel_encoder_put(&device->encoder, &hello, sizeof hello);
    sel_encoder_put(&device->encoder, numbers, sizeof numbers);
    return SEL_OK;
}

/* What there is to tell of a network. */
static void add_network(status_t *status, const sel_device_t *device)
{
    const sel_overlay_t *overlay = &device->overlay;
    const uint8_t *previous = sel_overlay_previous(overlay);
    memcpy(status->image_hash, sel_image_hash(&device->image), SEL_HASH_BYTES);
    memcpy(status->hash, overlay->hash, SEL_HASH_BYTES);
    if (previous != NULL) {
        memcpy(status->previous, previous, SEL_HASH_BYTES);
    }
    status->counter = overlay->counter;
    status->classes = device->net.classes;
    status->overlay_end = overlay->end;
    status->erases = overlay->erases[0] + overlay->erases[1];
    status->depth = overlay->depth;
    status->faults |= overlay->is_damaged ? SEL_FAULT_OVERLAY : 0;
}

sel_status_t sel_tell_status(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    status_t status;
    memset(&status, 0, sizeof status);
    memcpy(status.nonce, device->nonce, SEL_NONCE_BYTES);
    status.time_ms = port->time_ms(port->context);
    status.uptime_ms = port->uptime_ms(port->context);
    status.frames = device->frames;
    status.samples_lost = device->samples.lost;
    status.samples_waiting = device->samples.waiting;
    status.overlay_room = device->board->areas[0]->bytes;
    status.faults = device->faults;
    status.frames_dropped = device->decoder.dropped;
    if (device->has_image) {
        add_network(&status, device);
    }
    sel_answer(device, request, SEL_OK, &status, sizeof status);
    return SEL_OK;
}

sel_status_t sel_set_time(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    port->set_time(port->context, sel_get64(request->fields));
    return SEL_OK;
}

sel_status_t sel_tell_log(sel_device_t *device, sel_request_t *request)
{
    const sel_log_t *log = &device->log;
    uint32_t first = sel_log_first(log, sel_get32(request->fields));
    uint32_t numbers[2] = {first, log->written};
    uint32_t bytes = sel_least(log->written - first, LOG_ANSWER_BYTES);
    sel_answer_begin(device, request, SEL_OK, sizeof numbers + bytes);
    sel_encoder_put(&device->encoder, numbers, sizeof numbers);
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t byte = sel_log_byte(log, first + i);
        sel_encoder_put(&device->encoder, &byte, 1);
    }
    return SEL_OK;
}

sel_status_t sel_reboot(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    if (port->reboot == NULL) {
        return SEL_UNKNOWN_OPERATION;
    }
    sel_answer(device, request, SEL_OK, NULL, 0);
    port->reboot(port->context);
    return SEL_OK;
}

/* Whether a key is the device's, which itself cannot be read. */
static int is_the_key(const sel_port_t *port, const uint8_t *nonce, const uint8_t *key)
{
    uint8_t own[SEL_MAC_BYTES], other[SEL_MAC_BYTES];
    sel_hmac_sha256(key, KEY_BYTES, nonce, SEL_NONCE_BYTES, other);
    return port->hmac(port->context, nonce, SEL_NONCE_BYTES, own) == 0 && sel_same(own, other, sizeof own);
}

sel_status_t sel_provision(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    if (port->set_key == NULL) {
        return SEL_UNKNOWN_OPERATION;
    }
    if (!port->has_key(port->context)) {
        int failed = port->set_key(port->context, request->fields);
        sel_log_text(&device->log, failed ? "key not stored\n" : "key stored\n");
        return failed ? SEL_FLASH_FAULT : SEL_OK;
    }
    if (!is_the_key(port, device->nonce, request->fields)) {
        sel_log_text(&device->log, "another key refused\n");
        return SEL_WRONG_MAC;
    }
    return SEL_OK;
}
