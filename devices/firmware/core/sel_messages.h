/* What the message groups and the device share; not for a port. */
#ifndef SEL_MESSAGES_H
#define SEL_MESSAGES_H

#include <stdint.h>
#include <string.h>

#include "sel_device.h"
#include "sel_sha256.h"

/* A request whose fields have a length that its operation allows.
 *
 * numbers: what a refusal tells: needed and available of SEL_FULL, the reason of SEL_IMAGE_REFUSED and
 *          SEL_PAYLOAD_REFUSED, in two bytes the versions of SEL_VERSION.
 */
typedef struct {
    uint8_t operation;
    uint8_t is_answered;
    uint16_t sequence;
    const uint8_t *fields;
    uint32_t bytes; /* of the fields */
    uint32_t numbers[2];
} sel_request_t;

/* Answers the request that the decoder has put together. */
void sel_handle(sel_device_t *device);

/* Sends a response. Of a long one only the beginning, the rest is put into device->encoder. */
void sel_answer(sel_device_t *device, sel_request_t *request, sel_status_t status, const void *fields,
                uint32_t bytes);
void sel_answer_begin(sel_device_t *device, sel_request_t *request, sel_status_t status, uint32_t bytes);

/* What begin answers: the CRC-32 of each chunk. */
void sel_answer_chunks(sel_device_t *device, sel_request_t *request, const sel_place_t *place);

/* SEL_OK if the MAC that a request ends with is right for a label of 16 characters, the nonce and at most
 * sizeof(sel_manifest_t) of content. */
sel_status_t sel_authenticate(sel_device_t *device, const sel_request_t *request, const char *label,
                              const void *content, uint32_t bytes);

/* The same for a begin. A nonce serves one begin, and none after a chunk that cannot be programmed: who
 * overhears begins could repeat them, and have flash erased again and again. */
sel_status_t sel_authenticate_begin(sel_device_t *device, const sel_request_t *request, const char *label,
                                    const void *content, uint32_t bytes);

/* Whether bytes are equal, in a time that does not depend on them. */
int sel_same(const uint8_t *a, const uint8_t *b, uint32_t count);

void sel_renew_nonce(sel_device_t *device);

/* Begins with the image in the partition, if there is one that is right. */
void sel_start_network(sel_device_t *device);

/* SEL_OK if an image fits the board's memory, or SEL_IMAGE_REFUSED with the reason. */
sel_status_t sel_fits_memory(const sel_device_t *device, const sel_image_t *image, uint32_t *reason);

/* A frame was answered: counts it, and queues it if it is to be sampled. */
void sel_observed(sel_device_t *device, const uint8_t *input, const sel_answer_t *answer);

/* The operations, one or more of a sel_message_*.c. What they return is answered with the fields of that
 * status, if they have not answered yet. */
typedef sel_status_t sel_handler_t(sel_device_t *device, sel_request_t *request);

sel_handler_t sel_hello, sel_tell_status, sel_set_time, sel_tell_log, sel_reboot, sel_provision;
sel_handler_t sel_infer, sel_sampling, sel_tell_sample;
sel_handler_t sel_delta_begin, sel_delta_keep, sel_image_begin, sel_image_commit, sel_transfer;

#endif
