/* infer */
#include "sel_crc.h"
#include "sel_messages.h"

#define INPUT_AT 2u

enum { OBSERVE = 1, WITH_FEATURES = 2, WITH_LOGITS = 4, ALL_FLAGS = 7 };

/* Observing the same request twice, because its response was lost, counts once. */
static void observe_once(sel_device_t *device, const sel_request_t *request, const sel_answer_t *answer)
{
    uint32_t crc = sel_crc32(0, request->fields, request->bytes);
    int is_repeated = device->frames > 0 && device->observed_sequence == request->sequence &&
                      device->observed_crc == crc;
    if (!is_repeated) {
        sel_observed(device, request->fields + INPUT_AT, answer);
    }
    device->observed_sequence = request->sequence;
    device->observed_crc = crc;
}

void sel_infer(sel_device_t *device, const sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    uint8_t flags = request->fields[0];
    uint16_t classes, features;
    sel_answer_t answer;
    uint64_t cycles;
    uint8_t fields[24], logit[2];
    uint8_t *at = fields;
    if (!device->has_image) {
        sel_answer(device, request, SEL_NO_IMAGE, NULL, 0);
        return;
    }
    if (flags > ALL_FLAGS || request->fields[1] != 0 ||
        request->bytes - INPUT_AT != sel_net_input_bytes(&device->image)) {
        sel_answer(device, request, SEL_MALFORMED, NULL, 0);
        return;
    }
    cycles = port->cycles(port->context);
    sel_net_infer(&device->net, request->fields + INPUT_AT, &answer);
    cycles = port->cycles(port->context) - cycles;
    if (flags & OBSERVE) {
        observe_once(device, request, &answer);
    }
    classes = flags & WITH_LOGITS ? device->net.classes : 0;
    features = (flags & WITH_FEATURES) && answer.features != NULL ? device->image.features : 0;
    at = sel_add32(at, device->frames);
    at = sel_add16(at, answer.label);
    at = sel_add16(at, answer.uncertainty);
    at = sel_add16(at, answer.embarrassment);
    at = sel_add16(at, classes);
    at = sel_add16(at, features);
    at = sel_add16(at, 0);
    at = sel_add64(at, cycles);
    sel_answer_begin(device, request, SEL_OK, (uint32_t)(at - fields) + 2u * classes + features);
    sel_encoder_put(&device->encoder, fields, (uint32_t)(at - fields));
    for (uint16_t i = 0; i < classes; i++) {
        sel_put16(logit, (uint16_t)answer.logits[i]);
        sel_encoder_put(&device->encoder, logit, sizeof logit);
    }
    sel_encoder_put(&device->encoder, answer.features, features);
}
