#include "sel_net.h"

#include "sel_kernels.h"
#include "sel_signal.h"

/* Points `count` entries to rows and parameters that follow each other. */
static void point(sel_channel_t *entries, uint32_t count, const uint8_t *row, uint32_t row_bytes,
                  const uint8_t *parameters)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        entries[i].row = row + i * row_bytes;
        entries[i].parameters = parameters + i * SEL_PARAMETER_BYTES;
    }
}

void sel_net_reset(sel_net_t *net, const sel_image_t *image, sel_channel_t *table, uint8_t *arena)
{
    const sel_layer_t *layer = 0;
    uint32_t i;

    net->image = image;
    net->table = table;
    net->arena = arena;
    net->classes = image->classes;
    net->inverse = sel_get32(image->base + image->standin_at);
    net->names = image->base + image->names_at;
    net->kernels = SEL_FAST;
    for (i = 0; i < image->layers; i++) {
        layer = sel_image_layer(image, i);
        if (sel_layer_has_weights(layer))
            point(table + layer->first_entry, sel_image_rows(image, layer, (uint16_t)i),
                  image->base + layer->rows_at, layer->row_bytes, image->base + layer->parameters_at);
    }
    for (i = image->classes; i < image->most_classes; i++) {
        table[layer->first_entry + i].row = 0;
        table[layer->first_entry + i].parameters = 0;
    }
}

uint32_t sel_net_input_bytes(const sel_image_t *image)
{
    return (uint32_t)image->channels * image->height * image->width;
}

void sel_net_read(const sel_net_t *net, const uint8_t *input)
{
    const sel_image_t *image = net->image;
    const uint8_t *table = image->form ? 0 : image->base + image->pixels_at;
    uint8_t *to = net->arena + image->input;
    uint32_t cells = (uint32_t)image->height * image->width;
    uint32_t c;

    for (; cells; cells--, input += image->channels, to += sel_stride(image->channels))
        for (c = 0; c < image->channels; c++)
            to[c] = table ? table[256 * c + input[c]] : input[c];
}

void sel_net_run(const sel_net_t *net, uint16_t number)
{
    const sel_image_t *image = net->image;
    const sel_layer_t *layer = sel_image_layer(image, number);
    const sel_channel_t *channels = net->table + layer->first_entry;

    if (!sel_layer_has_weights(layer))
        sel_plain_other(layer, net->arena);
    else if (net->kernels == SEL_FAST && sel_fast_scratch_bytes(layer))
        sel_fast_convolve(layer, channels, net->arena,
                          net->arena + image->arena_bytes - image->scratch_bytes);
    else
        sel_plain_convolve(layer, channels, number + 1 == image->layers ? net->classes : 0, net->arena);
}

void sel_net_infer(const sel_net_t *net, const uint8_t *input, sel_answer_t *answer)
{
    const sel_image_t *image = net->image;
    uint16_t i, last = (uint16_t)(image->layers - 1);

    answer->features = net->arena + sel_image_layer(image, image->features_layer)->out;
    sel_net_read(net, input);
    for (i = 0; i < image->layers; i++) {
        sel_net_run(net, i);
        if (i > image->features_layer && sel_image_outputs_overlap(image, i, image->features_layer))
            answer->features = 0;
    }
    answer->logits = (const int16_t *)(const void *)(net->arena + sel_image_layer(image, last)->out);
    answer->label = sel_greatest(answer->logits, net->classes);
    answer->uncertainty = sel_uncertainty(answer->logits, net->classes, net->inverse);
    answer->embarrassment = sel_embarrassment(image->base + image->standin_at, answer->uncertainty);
}
