/* Payloads of an overlay: checked against the network they change, then read where they lie. */
#include "sel_net.h"

static const sel_run_t *run_at(const uint8_t *at)
{
    return (const sel_run_t *)(const void *)at;
}

static const uint8_t *data_of(const sel_run_t *run)
{
    return (const uint8_t *)(run + 1);
}

/* Bytes of each channel in a run of channels. */
static uint32_t channel_bytes(const sel_net_t *net, const sel_run_t *run)
{
    return SEL_PARAMETER_BYTES +
           (run->kind == SEL_RUN_WHOLE ? sel_image_layer(net->image, run->layer)->row_bytes : 0);
}

/* Bytes of a run's data, whose head is right: below 2^26, since the rows of a layer are in an image, or are
 * those of at most 256 classes. */
static uint32_t data_bytes(const sel_net_t *net, const sel_run_t *run)
{
    return run->kind == SEL_RUN_CLASSES ? (4u + run->count + 3u) & ~3u : run->count * channel_bytes(net, run);
}

static const sel_run_t *next(const sel_net_t *net, const sel_run_t *run)
{
    return run_at(data_of(run) + data_bytes(net, run));
}

static int head_is_right(const sel_net_t *net, const sel_run_t *run)
{
    const sel_image_t *image = net->image;
    const sel_layer_t *layer;

    if (run->layer >= image->layers || run->count == 0)
        return 0;
    if (run->kind == SEL_RUN_CLASSES)
        return run->layer + 1 == image->layers && run->first >= 2 && run->first <= image->most_classes;
    layer = sel_image_layer(image, run->layer);
    return (run->kind == SEL_RUN_SCALE || run->kind == SEL_RUN_WHOLE) && sel_layer_has_weights(layer) &&
           run->first + run->count <= layer->out_channels;
}

/* Whether the bytes are whole runs, each with a right head. */
static int runs_are_whole(const sel_net_t *net, const sel_run_t *run, uint32_t bytes)
{
    uint32_t data;

    for (; bytes > 0; bytes -= data, run = next(net, run)) {
        if (bytes < sizeof *run || !head_is_right(net, run))
            return 0;
        bytes -= (uint32_t)sizeof *run;
        data = data_bytes(net, run);
        if (data > bytes)
            return 0;
    }
    return 1;
}

/* Whether two runs change the same. */
static int meet(const sel_run_t *one, const sel_run_t *other)
{
    if (one->layer != other->layer || (one->kind == SEL_RUN_CLASSES) != (other->kind == SEL_RUN_CLASSES))
        return 0;
    return one->kind == SEL_RUN_CLASSES ||
           (one->first < other->first + other->count && other->first < one->first + one->count);
}

/* Whether nothing is changed twice. There are at most as many runs as channels and one more, which bounds the
 * comparisons whatever the payload. */
static int nothing_comes_twice(const sel_net_t *net, const sel_run_t *first, const sel_run_t *end)
{
    const sel_run_t *run, *other;
    uint32_t runs = 0;

    for (run = first; run != end; run = next(net, run)) {
        if (++runs > net->image->entries + 1u)
            return 0;
        for (other = first; other != run; other = next(net, other))
            if (meet(run, other))
                return 0;
    }
    return 1;
}

/* Weights and parameters of a run. A class without row gets parameters only together with one. */
static int channels_are_right(const sel_net_t *net, const sel_run_t *run)
{
    const sel_layer_t *layer = sel_image_layer(net->image, run->layer);
    const sel_channel_t *entry = net->table + layer->first_entry + run->first;
    const uint8_t *at = data_of(run);
    uint32_t i, step = channel_bytes(net, run);

    for (i = 0; i < run->count; i++, entry++, at += step) {
        const uint8_t *row = run->kind == SEL_RUN_WHOLE ? at + SEL_PARAMETER_BYTES : 0;

        if ((!row && !entry->row) || !sel_channel_is_right(layer, at, row))
            return 0;
    }
    return 1;
}

/* Whether the payload brings a row for a class. */
static int brings_row(const sel_net_t *net, const sel_run_t *run, const sel_run_t *end, uint32_t number)
{
    for (; run != end; run = next(net, run))
        if (run->layer + 1 == net->image->layers && run->kind == SEL_RUN_WHOLE && run->first <= number &&
            number < (uint32_t)run->first + run->count)
            return 1;
    return 0;
}

static int classes_are_right(const sel_net_t *net, const sel_run_t *run, const sel_run_t *first,
                             const sel_run_t *end)
{
    const uint8_t *names = data_of(run) + 4, *pad = names + run->count;
    const sel_channel_t *entries = net->table + sel_image_layer(net->image, run->layer)->first_entry;
    uint32_t i;

    if (!sel_texts_are_right(names, run->count, run->first))
        return 0;
    for (; pad != (const uint8_t *)next(net, run); pad++)
        if (*pad)
            return 0;
    for (i = net->image->classes; i < run->first; i++)
        if (!entries[i].row && !brings_row(net, first, end, i))
            return 0;
    return 1;
}

static uint32_t fault(const sel_net_t *net, const uint8_t *payload, uint32_t bytes)
{
    const sel_run_t *run, *first = run_at(payload), *end = run_at(payload + bytes);

    if (bytes % 4 || !runs_are_whole(net, first, bytes))
        return SEL_BAD_RUNS;
    if (!nothing_comes_twice(net, first, end))
        return SEL_BAD_REPEAT;
    for (run = first; run != end; run = next(net, run)) {
        if (run->kind != SEL_RUN_CLASSES && !channels_are_right(net, run))
            return SEL_BAD_CHANNELS;
        if (run->kind == SEL_RUN_CLASSES && !classes_are_right(net, run, first, end))
            return SEL_BAD_CLASSES;
    }
    return 0;
}

sel_status_t sel_net_check(const sel_net_t *net, const uint8_t *payload, uint32_t bytes, uint32_t *reason)
{
    *reason = fault(net, payload, bytes);
    return *reason ? SEL_PAYLOAD_REFUSED : SEL_OK;
}

static void apply_channels(sel_net_t *net, const sel_run_t *run)
{
    const sel_layer_t *layer = sel_image_layer(net->image, run->layer);
    sel_channel_t *entry = net->table + layer->first_entry + run->first;
    const uint8_t *at = data_of(run);
    uint32_t i, step = channel_bytes(net, run);

    for (i = 0; i < run->count; i++, entry++, at += step) {
        entry->parameters = at;
        if (run->kind == SEL_RUN_WHOLE)
            entry->row = at + SEL_PARAMETER_BYTES;
    }
}

void sel_net_apply(sel_net_t *net, const uint8_t *payload, uint32_t bytes)
{
    const sel_run_t *run, *end = run_at(payload + bytes);

    for (run = run_at(payload); run != end; run = next(net, run)) {
        if (run->kind == SEL_RUN_CLASSES) {
            net->classes = run->first;
            net->inverse = *(const uint32_t *)(const void *)data_of(run);
            net->names = data_of(run) + 4;
        } else {
            apply_channels(net, run);
        }
    }
}
