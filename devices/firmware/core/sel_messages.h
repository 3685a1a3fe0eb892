/* What the message groups and the device share; not for a port. */
#ifndef SEL_MESSAGES_H
#define SEL_MESSAGES_H

#include <stdint.h>
#include <string.h>

#include "sel_bytes.h"
#include "sel_device.h"
#include "sel_sha256.h"

/* A request whose fields have a length that its operation allows. */
typedef struct {
    uint8_t operation;
    uint16_t sequence;
    const uint8_t *fields;
    uint32_t bytes; /* of the fields */
} sel_request_t;

/* A response's fields are put together by these, which return where the next field goes. */
uint8_t *sel_add16(uint8_t *at, uint16_t value);
uint8_t *sel_add32(uint8_t *at, uint32_t value);
uint8_t *sel_add64(uint8_t *at, uint64_t value);
uint8_t *sel_add_bytes(uint8_t *at, const uint8_t *bytes, uint32_t count);

/* Answers the request that the decoder has put together. */
void sel_handle(sel_device_t *device);

/* Sends a response. Of a long one only the beginning, the rest is put into device->encoder. */
void sel_answer(sel_device_t *device, const sel_request_t *request, sel_status_t status,
                const uint8_t *fields, uint32_t bytes);
void sel_answer_begin(sel_device_t *device, const sel_request_t *request, sel_status_t status,
                      uint32_t bytes);

/* Sends a refusal with the fields of its status; first and second are those of SEL_FULL, first the reason of
 * SEL_IMAGE_REFUSED and SEL_PAYLOAD_REFUSED. */
void sel_refuse(sel_device_t *device, const sel_request_t *request, sel_status_t status, uint32_t first,
                uint32_t second);

/* What begin answers of a delta or an image of so many bytes; the CRC-32 of each chunk is then added. */
void sel_answer_chunks(sel_device_t *device, const sel_request_t *request, uint32_t bytes);
void sel_add_chunk(sel_device_t *device, uint32_t crc);

/* What data answers. */
void sel_answer_data(sel_device_t *device, const sel_request_t *request, sel_status_t status);

/* Whether a MAC is right for a label of 16 characters, the nonce and at most SEL_MANIFEST_BYTES of content.
 * If not, the request is answered. */
int sel_is_authentic(sel_device_t *device, const sel_request_t *request, const char *label,
                     const uint8_t *content, uint32_t bytes, const uint8_t mac[SEL_MAC_BYTES]);

/* Whether bytes are equal, in a time that does not depend on them. */
int sel_same(const uint8_t *a, const uint8_t *b, uint32_t count);

void sel_renew_nonce(sel_device_t *device);

/* Begins with the image in the partition, if there is one that is right. */
void sel_start_network(sel_device_t *device);

/* SEL_OK if an image fits the board's memory, or SEL_IMAGE_REFUSED with the reason. */
sel_status_t sel_fits_memory(const sel_device_t *device, const sel_image_t *image, uint32_t *reason);

/* A frame was answered: counts it, and queues it if it is to be sampled. */
void sel_observed(sel_device_t *device, const uint8_t *input, const sel_answer_t *answer);

/* The operations, one or more of a sel_message_*.c. */
typedef void sel_handler_t(sel_device_t *device, const sel_request_t *request);

sel_handler_t sel_hello, sel_tell_status, sel_set_time, sel_tell_log, sel_reboot, sel_provision;
sel_handler_t sel_infer, sel_sampling, sel_tell_sample;
sel_handler_t sel_delta_begin, sel_delta_data, sel_delta_commit, sel_rollback;
sel_handler_t sel_image_begin, sel_image_data, sel_image_commit;

#endif
