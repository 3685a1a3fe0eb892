/* infer */
#include "sel_crc.h"
#include "sel_messages.h"

#define INPUT_AT 2u

enum { OBSERVE = 1, WITH_FEATURES = 2, WITH_LOGITS = 4, ALL_FLAGS = 7 };

/* The answer, before logits and features. */
typedef struct {
    uint32_t frame;
    uint16_t label, uncertainty, embarrassment;
    uint16_t classes, features, zero;
    sel_u64_t cycles;
} inferred_t;
SEL_LIES_AS(inferred_t, 24);

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

sel_status_t sel_infer(sel_device_t *device, sel_request_t *request)
{
    const sel_port_t *port = device->board->port;
    uint8_t flags = request->fields[0];
    sel_encoder_t *encoder = &device->encoder;
    inferred_t inferred;
    sel_answer_t answer;
    uint64_t started;
    if (!device->has_image) {
        return SEL_NO_IMAGE;
    }
    if (flags > ALL_FLAGS || request->fields[1] != 0 ||
        request->bytes - INPUT_AT != sel_net_input_bytes(&device->image)) {
        return SEL_MALFORMED;
    }
    started = port->cycles(port->context);
    sel_net_infer(&device->net, request->fields + INPUT_AT, &answer);
    inferred.cycles = port->cycles(port->context) - started;
    if (flags & OBSERVE) {
        observe_once(device, request, &answer);
    }
    inferred.frame = device->frames;
    inferred.label = answer.label;
    inferred.uncertainty = answer.uncertainty;
    inferred.embarrassment = answer.embarrassment;
    inferred.classes = flags & WITH_LOGITS ? device->net.classes : 0;
    inferred.features = (flags & WITH_FEATURES) && answer.features != NULL ? device->image.features : 0;
    inferred.zero = 0;
    sel_answer_begin(device, request, SEL_OK,
                     (uint32_t)sizeof inferred + 2u * inferred.classes + inferred.features);
    sel_encoder_put(encoder, &inferred, sizeof inferred);
    sel_encoder_put(encoder, answer.logits, 2u * inferred.classes);
    sel_encoder_put(encoder, answer.features, inferred.features);
    return SEL_OK;
}
