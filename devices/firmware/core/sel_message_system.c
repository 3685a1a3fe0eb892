/* hello, status, time, log, reboot, provision */
#include "sel_hmac.h"
#include "sel_messages.h"

#define MESSAGE_VERSION 1u
#define LOG_ANSWER_BYTES 1024u
#define KEY_BYTES 32u

enum { CAN_KEY_PRESENT = 1, CAN_SET_KEY = 2, CAN_IMAGE_PRESENT = 4, CAN_REBOOT = 8 };

static const uint8_t no_hash[SEL_HASH_BYTES];

void sel_hello(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    uint8_t fields[26] = {MESSAGE_VERSION, 0};
    uint8_t *at = fields + 2;
    uint32_t abilities = device->has_image ? CAN_IMAGE_PRESENT : 0u;
    if (request->fields[0] > MESSAGE_VERSION || request->fields[1] < MESSAGE_VERSION) {
        sel_refuse(device, request, SEL_VERSION, MESSAGE_VERSION, MESSAGE_VERSION);
        return;
    }
    abilities |= port->has_key(port->context) ? CAN_KEY_PRESENT : 0u;
    abilities |= port->set_key != NULL ? CAN_SET_KEY : 0u;
    abilities |= port->reboot != NULL ? CAN_REBOOT : 0u;
    at = sel_add_bytes(at, port->device_id, sizeof port->device_id);
    at = sel_add16(at, SEL_FIRMWARE_MAJOR);
    at = sel_add16(at, SEL_FIRMWARE_MINOR);
    at = sel_add16(at, SEL_FRAGMENT_BYTES);
    at = sel_add16(at, device->board->window);
    at = sel_add32(at, device->board->memory.message_bytes);
    at = sel_add32(at, abilities);
    sel_answer(device, request, SEL_OK, fields, (uint32_t)(at - fields));
}

void sel_tell_status(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    const sel_overlay_t *overlay = &device->overlay;
    int runs = device->has_image;
    const uint8_t *previous = runs ? sel_overlay_previous(overlay) : NULL;
    uint8_t fields[168];
    uint8_t *at = sel_add_bytes(fields, runs ? sel_image_hash(&device->image) : no_hash, SEL_HASH_BYTES);
    at = sel_add_bytes(at, runs ? overlay->hash : no_hash, SEL_HASH_BYTES);
    at = sel_add_bytes(at, previous != NULL ? previous : no_hash, SEL_HASH_BYTES);
    at = sel_add_bytes(at, device->nonce, SEL_NONCE_BYTES);
    at = sel_add64(at, runs ? overlay->counter : 0);
    at = sel_add64(at, port->time_ms(port->context));
    at = sel_add32(at, port->uptime_ms(port->context));
    at = sel_add32(at, device->frames);
    at = sel_add32(at, device->samples.lost);
    at = sel_add16(at, device->samples.waiting);
    at = sel_add16(at, runs ? device->net.classes : 0);
    at = sel_add32(at, runs ? overlay->end : 0);
    at = sel_add32(at, device->board->areas[0]->bytes);
    at = sel_add32(at, runs ? overlay->erases[0] + overlay->erases[1] : 0);
    at = sel_add16(at, runs ? overlay->depth : 0);
    at = sel_add16(at, (uint16_t)(device->faults | (runs && overlay->is_damaged ? SEL_FAULT_OVERLAY : 0u)));
    at = sel_add32(at, device->decoder.dropped);
    sel_answer(device, request, SEL_OK, fields, (uint32_t)(at - fields));
}

void sel_set_time(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    port->set_time(port->context, sel_get64(request->fields));
    sel_answer(device, request, SEL_OK, NULL, 0);
}

void sel_tell_log(sel_device_t *device, const sel_request_t *request)
{
    const sel_log_t *log = &device->log;
    uint32_t first = sel_log_first(log, sel_get32(request->fields));
    uint32_t bytes = log->written - first;
    uint8_t numbers[8];
    bytes = bytes < LOG_ANSWER_BYTES ? bytes : LOG_ANSWER_BYTES;
    sel_put32(numbers, first);
    sel_put32(numbers + 4, log->written);
    sel_answer_begin(device, request, SEL_OK, sizeof numbers + bytes);
    sel_encoder_put(&device->encoder, numbers, sizeof numbers);
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t byte = sel_log_byte(log, first + i);
        sel_encoder_put(&device->encoder, &byte, 1);
    }
}

void sel_reboot(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    if (port->reboot == NULL) {
        sel_answer(device, request, SEL_UNKNOWN_OPERATION, NULL, 0);
        return;
    }
    sel_answer(device, request, SEL_OK, NULL, 0);
    port->reboot(port->context);
}

/* Whether a key is the device's, which itself cannot be read. */
static int is_the_key(const sel_port_t *port, const uint8_t *nonce, const uint8_t *key)
{
    uint8_t own[SEL_MAC_BYTES], other[SEL_MAC_BYTES];
    sel_hmac_sha256(key, KEY_BYTES, nonce, SEL_NONCE_BYTES, other);
    return port->hmac(port->context, nonce, SEL_NONCE_BYTES, own) == 0 && sel_same(own, other, sizeof own);
}

void sel_provision(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    if (port->set_key == NULL) {
        sel_answer(device, request, SEL_UNKNOWN_OPERATION, NULL, 0);
    } else if (!port->has_key(port->context)) {
        int failed = port->set_key(port->context, request->fields);
        sel_log_text(&device->log, failed ? "key not stored\n" : "key stored\n");
        sel_answer(device, request, failed ? SEL_FLASH_FAULT : SEL_OK, NULL, 0);
    } else if (is_the_key(port, device->nonce, request->fields)) {
        sel_answer(device, request, SEL_OK, NULL, 0);
    } else {
        sel_log_text(&device->log, "another key refused\n");
        sel_refuse(device, request, SEL_WRONG_MAC, 0, 0);
    }
}
