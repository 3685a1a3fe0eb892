/* sampling, sample */
#include "sel_messages.h"

void sel_sampling(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    const uint8_t *fields = request->fields;
    uint8_t form = fields[2];
    int is_known = form == SEL_SAMPLE_FRAME || form == SEL_SAMPLE_FEATURES;
    if (!is_known || fields[3] != 0 || sel_get16(fields + 6) != 0) {
        sel_answer(device, request, SEL_MALFORMED, NULL, 0);
        return;
    }
    sel_samples_set(&device->samples, sel_get16(fields), form, sel_get16(fields + 4),
                    port->uptime_ms(port->context));
    sel_answer(device, request, SEL_OK, NULL, 0);
}

void sel_tell_sample(sel_device_t *device, const sel_request_t *request)
{
    sel_samples_t *samples = &device->samples;
    sel_sample_t sample;
    uint8_t fields[24];
    uint8_t *at = fields;
    uint32_t sent = 0;
    sel_samples_arrived(samples, sel_get32(request->fields));
    sel_samples_oldest(samples, &sample);
    at = sel_add32(at, sample.number);
    at = sel_add32(at, sample.frame);
    at = sel_add64(at, sample.time_ms);
    at = sel_add16(at, sample.label);
    at = sel_add16(at, sample.embarrassment);
    *at++ = sample.form;
    *at++ = 0;
    at = sel_add16(at, samples->waiting == 0 ? 0 : (uint16_t)(samples->waiting - 1));
    sel_answer_begin(device, request, SEL_OK, (uint32_t)(at - fields) + sample.bytes);
    sel_encoder_put(&device->encoder, fields, (uint32_t)(at - fields));
    while (sent < sample.bytes) {
        const uint8_t *piece;
        uint32_t count = sel_samples_piece(samples, sent, sample.bytes - sent, &piece);
        sel_encoder_put(&device->encoder, piece, count);
        sent += count;
    }
}
