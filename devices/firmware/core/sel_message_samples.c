/* sampling, sample */
#include "sel_messages.h"

/* The fields of a sampling request. */
typedef struct {
    uint16_t least_embarrassment;
    uint8_t form, zero;
    uint16_t per_minute, zero_6;
} sampling_t;
SEL_LIES_AS(sampling_t, 8);

sel_status_t sel_sampling(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    sampling_t sampling;
    memcpy(&sampling, request->fields, sizeof sampling);
    if ((sampling.form != SEL_SAMPLE_FRAME && sampling.form != SEL_SAMPLE_FEATURES) || sampling.zero != 0 ||
        sampling.zero_6 != 0) {
        return SEL_MALFORMED;
    }
    sel_samples_set(&device->samples, sampling.least_embarrassment, sampling.form, sampling.per_minute,
                    port->uptime_ms(port->context));
    return SEL_OK;
}

sel_status_t sel_tell_sample(sel_device_t *device, sel_request_t *request)
{
    sel_samples_t *samples = &device->samples;
    sel_sample_t sample;
    uint32_t sent = 0;
    sel_samples_arrived(samples, sel_get32(request->fields));
    sel_samples_oldest(samples, &sample);
    sel_answer_begin(device, request, SEL_OK, SEL_SAMPLE_TOLD_BYTES + sample.bytes);
    sel_encoder_put(&device->encoder, &sample, SEL_SAMPLE_TOLD_BYTES);
    while (sent < sample.bytes) {
        const uint8_t *piece;
        uint32_t count = sel_samples_piece(samples, sent, sample.bytes - sent, &piece);
        sel_encoder_put(&device->encoder, piece, count);
        sent += count;
    }
    return SEL_OK;
}
