#include "sel_messages.h"

#define HEADER_BYTES 2u /* of a request: operation, 0; of a response: operation, status */
#define LABEL_BYTES 16u
#define LONGEST UINT32_MAX
#define SIGNED_MANIFEST (SEL_MANIFEST_BYTES + SEL_MAC_BYTES)

uint8_t *sel_add16(uint8_t *at, uint16_t value)
{
    sel_put16(at, value);
    return at + 2;
}

uint8_t *sel_add32(uint8_t *at, uint32_t value)
{
    sel_put32(at, value);
    return at + 4;
}

uint8_t *sel_add64(uint8_t *at, uint64_t value)
{
    sel_put64(at, value);
    return at + 8;
}

uint8_t *sel_add_bytes(uint8_t *at, const uint8_t *bytes, uint32_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

void sel_answer_begin(sel_device_t *device, const sel_request_t *request, sel_status_t status, uint32_t bytes)
{
    uint8_t header[HEADER_BYTES];
    header[0] = request->operation;
    header[1] = (uint8_t)status;
    sel_encoder_begin(&device->encoder, device->board->port, SEL_RESPONSE, request->sequence,
                      sizeof header + bytes);
    sel_encoder_put(&device->encoder, header, sizeof header);
}

void sel_answer(sel_device_t *device, const sel_request_t *request, sel_status_t status,
                const uint8_t *fields, uint32_t bytes)
{
    sel_answer_begin(device, request, status, bytes);
    sel_encoder_put(&device->encoder, fields, bytes);
}

void sel_refuse(sel_device_t *device, const sel_request_t *request, sel_status_t status, uint32_t first,
                uint32_t second)
{
    uint8_t fields[SEL_HASH_BYTES];
    uint8_t *at = fields;
    switch (status) {
    case SEL_WRONG_BASE:
        at = sel_add_bytes(at, device->overlay.hash, SEL_HASH_BYTES);
        break;
    case SEL_STALE_COUNTER:
        at = sel_add64(at, device->overlay.counter);
        break;
    case SEL_WRONG_MAC:
        at = sel_add_bytes(at, device->nonce, SEL_NONCE_BYTES);
        break;
    case SEL_FULL:
        at = sel_add32(at, first);
        at = sel_add32(at, second);
        break;
    case SEL_IMAGE_REFUSED:
    case SEL_PAYLOAD_REFUSED:
        at = sel_add32(at, first);
        break;
    case SEL_VERSION:
        *at++ = (uint8_t)first;
        *at++ = (uint8_t)second;
        break;
    case SEL_FLASH_FAULT:
        device->faults |= SEL_FAULT_FLASH;
        break;
    default:
        break;
    }
    sel_answer(device, request, status, fields, (uint32_t)(at - fields));
}

void sel_answer_chunks(sel_device_t *device, const sel_request_t *request, uint32_t bytes)
{
    uint32_t chunks = (bytes + SEL_CHUNK_BYTES - 1) / SEL_CHUNK_BYTES;
    uint8_t fields[8];
    uint8_t *at = sel_add32(fields, SEL_CHUNK_BYTES);
    at = sel_add16(at, (uint16_t)chunks);
    at = sel_add16(at, 0);
    sel_answer_begin(device, request, SEL_OK, (uint32_t)(at - fields) + 4 * chunks);
    sel_encoder_put(&device->encoder, fields, (uint32_t)(at - fields));
}

void sel_add_chunk(sel_device_t *device, uint32_t crc)
{
    uint8_t number[4];
    sel_put32(number, crc);
    sel_encoder_put(&device->encoder, number, sizeof number);
}

void sel_answer_data(sel_device_t *device, const sel_request_t *request, sel_status_t status)
{
    if (status == SEL_OK) {
        sel_answer(device, request, SEL_OK, request->fields, 4);
    } else {
        sel_refuse(device, request, status, 0, 0);
    }
}

int sel_same(const uint8_t *a, const uint8_t *b, uint32_t count)
{
    uint8_t differences = 0;
    for (uint32_t i = 0; i < count; i++) {
        differences |= (uint8_t)(a[i] ^ b[i]);
    }
    return differences == 0;
}

int sel_is_authentic(sel_device_t *device, const sel_request_t *request, const char *label,
                     const uint8_t *content, uint32_t bytes, const uint8_t mac[SEL_MAC_BYTES])
{
    const sel_port_t *port = device->board->port;
    uint8_t message[LABEL_BYTES + SEL_NONCE_BYTES + SEL_MANIFEST_BYTES];
    uint8_t own[SEL_MAC_BYTES];
    uint8_t *at = message;
    at = sel_add_bytes(at, (const uint8_t *)label, LABEL_BYTES);
    at = sel_add_bytes(at, device->nonce, SEL_NONCE_BYTES);
    at = sel_add_bytes(at, content, bytes);
    if (port->hmac(port->context, message, (uint32_t)(at - message), own) != 0) {
        sel_answer(device, request, SEL_NO_KEY, NULL, 0);
        return 0;
    }
    if (!sel_same(own, mac, SEL_MAC_BYTES)) {
        sel_renew_nonce(device);
        sel_log_text(&device->log, "wrong MAC\n");
        sel_refuse(device, request, SEL_WRONG_MAC, 0, 0);
        return 0;
    }
    return 1;
}

typedef struct {
    uint8_t operation;
    uint32_t least, most; /* bytes of the fields */
    sel_handler_t *handler;
} operation_t;

static const operation_t operations[] = {
    {0x01, 2, 2, sel_hello},
    {0x02, 0, 0, sel_tell_status},
    {0x03, 8, 8, sel_set_time},
    {0x04, 4, 4, sel_tell_log},
    {0x05, 0, 0, sel_reboot},
    {0x06, 32, 32, sel_provision},
    {0x10, 2, LONGEST, sel_infer},
    {0x11, 8, 8, sel_sampling},
    {0x12, 4, 4, sel_tell_sample},
    {0x20, SIGNED_MANIFEST, SIGNED_MANIFEST, sel_delta_begin},
    {0x21, 5, 4 + SEL_CHUNK_BYTES, sel_delta_data},
    {0x22, SIGNED_MANIFEST, SIGNED_MANIFEST, sel_delta_commit},
    {0x23, SIGNED_MANIFEST, SIGNED_MANIFEST, sel_rollback},
    {0x30, 4 + SEL_HASH_BYTES + SEL_MAC_BYTES, 4 + SEL_HASH_BYTES + SEL_MAC_BYTES, sel_image_begin},
    {0x31, 5, 4 + SEL_CHUNK_BYTES, sel_image_data},
    {0x32, SEL_HASH_BYTES + SEL_MAC_BYTES, SEL_HASH_BYTES + SEL_MAC_BYTES, sel_image_commit},
};

void sel_handle(sel_device_t *device)
{
    const sel_decoder_t *decoder = &device->decoder;
    const uint8_t *message = decoder->message;
    sel_request_t request = {0, decoder->sequence, message + HEADER_BYTES, 0};
    request.operation = decoder->bytes > 0 ? message[0] : 0;
    if (decoder->bytes < HEADER_BYTES || message[1] != 0) {
        sel_answer(device, &request, SEL_MALFORMED, NULL, 0);
        return;
    }
    request.bytes = decoder->bytes - HEADER_BYTES;
    for (uint32_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const operation_t *operation = &operations[i];
        if (operation->operation == request.operation) {
            if (request.bytes < operation->least || request.bytes > operation->most) {
                sel_answer(device, &request, SEL_MALFORMED, NULL, 0);
            } else {
                operation->handler(device, &request);
            }
            return;
        }
    }
    sel_answer(device, &request, SEL_UNKNOWN_OPERATION, NULL, 0);
}
