/* Payloads of an overlay: checked against the network they change, then read where they lie. */
#include "sel_bytes.h"
#include "sel_net.h"

#define RUN_BYTES 8u

typedef enum { SCALE = 1, WHOLE = 2, CLASSES = 3 } run_kind_t;

typedef struct {
    uint16_t layer, kind, first, count;
    const uint8_t *data;
} run_t;

static run_t run_at(const uint8_t *at)
{
    run_t run;

    run.layer = sel_get16(at);
    run.kind = sel_get16(at + 2);
    run.first = sel_get16(at + 4);
    run.count = sel_get16(at + 6);
    run.data = at + RUN_BYTES;
    return run;
}

/* Bytes of a run's data, whose layer and kind are right. */
static uint64_t data_bytes(const sel_net_t *net, const run_t *run)
{
    sel_layer_t layer;

    if (run->kind == CLASSES)
        return (4u + run->count + 3u) & ~3u;
    if (run->kind == SCALE)
        return (uint64_t)run->count * SEL_PARAMETER_BYTES;
    sel_image_layer(net->image, run->layer, &layer);
    return (uint64_t)run->count * (SEL_PARAMETER_BYTES + layer.row_bytes);
}

static const uint8_t *after(const sel_net_t *net, const run_t *run)
{
    return run->data + data_bytes(net, run);
}

static int head_is_right(const sel_net_t *net, const run_t *run)
{
    const sel_image_t *image = net->image;
    sel_layer_t layer;

    if (run->layer >= image->layers || run->count == 0)
        return 0;
    if (run->kind == CLASSES)
        return run->layer + 1 == image->layers && run->first >= 2 && run->first <= image->most_classes;
    sel_image_layer(image, run->layer, &layer);
    return (run->kind == SCALE || run->kind == WHOLE) && sel_layer_has_weights(&layer) &&
           run->first + run->count <= layer.out_channels;
}

/* Whether the bytes are whole runs, each with a right head. */
static int runs_are_whole(const sel_net_t *net, const uint8_t *payload, uint32_t bytes)
{
    const uint8_t *end = payload + bytes;

    while (payload != end) {
        run_t run;

        if ((uint32_t)(end - payload) < RUN_BYTES)
            return 0;
        run = run_at(payload);
        if (!head_is_right(net, &run) || data_bytes(net, &run) > (uint32_t)(end - run.data))
            return 0;
        payload = after(net, &run);
    }
    return 1;
}

/* Whether two runs change the same. */
static int meet(const run_t *one, const run_t *other)
{
    if (one->layer != other->layer || (one->kind == CLASSES) != (other->kind == CLASSES))
        return 0;
    return one->kind == CLASSES ||
           (one->first < other->first + other->count && other->first < one->first + one->count);
}

/* Whether nothing is changed twice. There are at most as many runs as channels and one more, which bounds the
 * comparisons whatever the payload. */
static int nothing_comes_twice(const sel_net_t *net, const uint8_t *payload, const uint8_t *end)
{
    const uint8_t *at, *other;
    uint32_t runs = 0;
    run_t run, before;

    for (at = payload; at != end; at = after(net, &run)) {
        run = run_at(at);
        if (++runs > net->image->entries + 1u)
            return 0;
        for (other = payload; other != at; other = after(net, &before)) {
            before = run_at(other);
            if (meet(&run, &before))
                return 0;
        }
    }
    return 1;
}

/* Weights and parameters of a run. A class without row gets parameters only together with one. */
static int channels_are_right(const sel_net_t *net, const run_t *run)
{
    const uint8_t *at = run->data;
    sel_layer_t layer;
    uint32_t i;

    sel_image_layer(net->image, run->layer, &layer);
    for (i = run->first; i < (uint32_t)run->first + run->count; i++, at += SEL_PARAMETER_BYTES) {
        const uint8_t *row = run->kind == WHOLE ? at + SEL_PARAMETER_BYTES : 0;

        if ((!row && !net->table[layer.first_entry + i].row) || !sel_channel_is_right(&layer, at, row))
            return 0;
        at += row ? layer.row_bytes : 0;
    }
    return 1;
}

/* Whether the payload brings a row for a class. */
static int brings_row(const sel_net_t *net, const uint8_t *payload, const uint8_t *end, uint16_t number)
{
    run_t run;

    for (; payload != end; payload = after(net, &run)) {
        run = run_at(payload);
        if (run.layer + 1 == net->image->layers && run.kind == WHOLE && run.first <= number &&
            number < run.first + run.count)
            return 1;
    }
    return 0;
}

static int classes_are_right(const sel_net_t *net, const run_t *run, const uint8_t *payload,
                             const uint8_t *end)
{
    const uint8_t *names = run->data + 4, *pad = names + run->count;
    sel_layer_t layer;
    uint16_t i;

    if (!sel_texts_are_right(names, run->count, run->first))
        return 0;
    for (; pad != after(net, run); pad++)
        if (*pad)
            return 0;
    sel_image_layer(net->image, run->layer, &layer);
    for (i = net->image->classes; i < run->first; i++)
        if (!net->table[layer.first_entry + i].row && !brings_row(net, payload, end, i))
            return 0;
    return 1;
}

sel_status_t sel_net_check(const sel_net_t *net, const uint8_t *payload, uint32_t bytes, uint32_t *reason)
{
    const uint8_t *at, *end = payload + bytes;
    run_t run;

    *reason = SEL_BAD_RUNS;
    if (bytes % 4 || !runs_are_whole(net, payload, bytes))
        return SEL_PAYLOAD_REFUSED;
    *reason = SEL_BAD_REPEAT;
    if (!nothing_comes_twice(net, payload, end))
        return SEL_PAYLOAD_REFUSED;
    for (at = payload; at != end; at = after(net, &run)) {
        run = run_at(at);
        *reason = SEL_BAD_CHANNELS;
        if (run.kind != CLASSES && !channels_are_right(net, &run))
            return SEL_PAYLOAD_REFUSED;
        *reason = SEL_BAD_CLASSES;
        if (run.kind == CLASSES && !classes_are_right(net, &run, payload, end))
            return SEL_PAYLOAD_REFUSED;
    }
    *reason = 0;
    return SEL_OK;
}

static void apply_channels(sel_net_t *net, const run_t *run)
{
    const uint8_t *at = run->data;
    sel_channel_t *entry;
    sel_layer_t layer;
    uint16_t i;

    sel_image_layer(net->image, run->layer, &layer);
    entry = net->table + layer.first_entry + run->first;
    for (i = 0; i < run->count; i++, entry++) {
        entry->parameters = at;
        at += SEL_PARAMETER_BYTES;
        if (run->kind == WHOLE) {
            entry->row = at;
            at += layer.row_bytes;
        }
    }
}

void sel_net_apply(sel_net_t *net, const uint8_t *payload, uint32_t bytes)
{
    const uint8_t *at, *end = payload + bytes;
    run_t run;

    for (at = payload; at != end; at = after(net, &run)) {
        run = run_at(at);
        if (run.kind == CLASSES) {
            net->classes = run.first;
            net->inverse = sel_get32(run.data);
            net->names = run.data + 4;
        } else {
            apply_channels(net, &run);
        }
    }
}
