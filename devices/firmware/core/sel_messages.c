#include "sel_messages.h"

#define HEADER_BYTES 2u /* of a request: operation, 0; of a response: operation, status */
#define LABEL_BYTES 16u
#define LONGEST UINT32_MAX
#define SIGNED_MANIFEST ((uint32_t)sizeof(sel_manifest_t) + SEL_MAC_BYTES)
#define SIGNED_HASH (SEL_HASH_BYTES + SEL_MAC_BYTES)

void sel_answer_begin(sel_device_t *device, sel_request_t *request, sel_status_t status, uint32_t bytes)
{
    uint8_t header[HEADER_BYTES];
    header[0] = request->operation;
    header[1] = (uint8_t)status;
    request->is_answered = 1;
    sel_encoder_begin(&device->encoder, device->board->port, SEL_RESPONSE, request->sequence,
                      sizeof header + bytes);
    sel_encoder_put(&device->encoder, header, sizeof header);
}

void sel_answer(sel_device_t *device, sel_request_t *request, sel_status_t status, const void *fields,
                uint32_t bytes)
{
    sel_answer_begin(device, request, status, bytes);
    sel_encoder_put(&device->encoder, fields, bytes);
}

/* Sends a status with its fields. */
static void answer_status(sel_device_t *device, sel_request_t *request, sel_status_t status)
{
    const void *fields = request->numbers;
    uint32_t bytes = 0;
    switch (status) {
    case SEL_WRONG_BASE:
        fields = device->overlay.hash;
        bytes = SEL_HASH_BYTES;
        break;
    case SEL_STALE_COUNTER:
        fields = &device->overlay.counter;
        bytes = sizeof device->overlay.counter;
        break;
    case SEL_WRONG_MAC:
        fields = device->nonce;
        bytes = SEL_NONCE_BYTES;
        break;
    case SEL_FULL:
        bytes = sizeof request->numbers;
        break;
    case SEL_IMAGE_REFUSED:
    case SEL_PAYLOAD_REFUSED:
        bytes = sizeof request->numbers[0];
        break;
    case SEL_VERSION:
        bytes = 2;
        break;
    case SEL_FLASH_FAULT:
        device->faults |= SEL_FAULT_FLASH;
        break;
    default:
        break;
    }
    sel_answer(device, request, status, fields, bytes);
}

void sel_answer_chunks(sel_device_t *device, sel_request_t *request, const sel_place_t *place)
{
    uint32_t chunks = (place->bytes + SEL_CHUNK_BYTES - 1) / SEL_CHUNK_BYTES;
    uint32_t fields[2] = {SEL_CHUNK_BYTES, chunks}; /* u16 chunks, u16 0 */
    sel_answer_begin(device, request, SEL_OK, sizeof fields + 4 * chunks);
    sel_encoder_put(&device->encoder, fields, sizeof fields);
    for (uint32_t i = 0; i < chunks; i++) {
        uint32_t crc = sel_place_chunk(place, i);
        sel_encoder_put(&device->encoder, &crc, sizeof crc);
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

static const uint8_t *mac_of(const sel_request_t *request)
{
    return request->fields + request->bytes - SEL_MAC_BYTES;
}

sel_status_t sel_authenticate(sel_device_t *device, const sel_request_t *request, const char *label,
                              const void *content, uint32_t bytes)
{
    const sel_port_t *port = device->board->port;
    uint8_t message[LABEL_BYTES + SEL_NONCE_BYTES + sizeof(sel_manifest_t)];
    uint8_t own[SEL_MAC_BYTES];
    memcpy(message, label, LABEL_BYTES);
    memcpy(message + LABEL_BYTES, device->nonce, SEL_NONCE_BYTES);
    memcpy(message + LABEL_BYTES + SEL_NONCE_BYTES, content, bytes);
    if (port->hmac(port->context, message, LABEL_BYTES + SEL_NONCE_BYTES + bytes, own) != 0) {
        return SEL_NO_KEY;
    }
    if (!sel_same(own, mac_of(request), SEL_MAC_BYTES)) {
        sel_renew_nonce(device);
        sel_log_text(&device->log, "wrong MAC\n");
        return SEL_WRONG_MAC;
    }
    return SEL_OK;
}

sel_status_t sel_authenticate_begin(sel_device_t *device, const sel_request_t *request, const char *label,
                                    const void *content, uint32_t bytes)
{
    uint32_t begun = sel_get32(mac_of(request));
    sel_status_t status = sel_authenticate(device, request, label, content, bytes);
    if (status == SEL_OK && device->begun != 0 && device->begun != begun) {
        sel_renew_nonce(device);
        return SEL_WRONG_MAC;
    }
    if (status == SEL_OK) {
        device->begun = begun;
    }
    return status;
}

typedef struct {
    uint8_t operation;
    uint16_t least; /* bytes of the fields */
    uint32_t most;
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
    {SEL_DELTA_DATA, 5, 4 + SEL_CHUNK_BYTES, sel_transfer},
    {SEL_DELTA_COMMIT, SIGNED_MANIFEST, SIGNED_MANIFEST, sel_delta_keep},
    {SEL_DELTA_ROLLBACK, SIGNED_MANIFEST, SIGNED_MANIFEST, sel_delta_keep},
    {0x30, 4 + SIGNED_HASH, 4 + SIGNED_HASH, sel_image_begin},
    {SEL_IMAGE_DATA, 5, 4 + SEL_CHUNK_BYTES, sel_transfer},
    {0x32, SIGNED_HASH, SIGNED_HASH, sel_image_commit},
};

static sel_status_t handle(sel_device_t *device, sel_request_t *request, uint8_t zero)
{
    if (zero != 0) {
        return SEL_MALFORMED;
    }
    for (uint32_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const operation_t *operation = &operations[i];
        if (operation->operation == request->operation) {
            int fits = request->bytes >= operation->least && request->bytes <= operation->most;
            return fits ? operation->handler(device, request) : SEL_MALFORMED;
        }
    }
    return SEL_UNKNOWN_OPERATION;
}

void sel_handle(sel_device_t *device)
{
    const sel_decoder_t *decoder = &device->decoder;
    const uint8_t *message = decoder->message;
    sel_request_t request = {0, 0, decoder->sequence, message + HEADER_BYTES, 0, {0, 0}};
    sel_status_t status = SEL_MALFORMED;
    if (decoder->bytes > 0) {
        request.operation = message[0];
    }
    if (decoder->bytes >= HEADER_BYTES) {
        request.bytes = decoder->bytes - HEADER_BYTES;
        status = handle(device, &request, message[1]);
    }
    if (!request.is_answered) {
        answer_status(device, &request, status);
    }
}
