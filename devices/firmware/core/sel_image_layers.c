/* Whether the layers of an image can be executed: shapes, tensors, weights. */
#include "sel_bytes.h"
#include "sel_image.h"
#include "sel_kernels.h"

#define MOST_CELLS 32768u
#define MOST_SHIFT 30u
#define LIMIT 0x80000000 /* what no sum reaches */

/* Bytes of the arena. */
typedef struct {
    uint64_t at, bytes;
} span_t;

static span_t tensor_span(uint32_t at, uint16_t channels, uint16_t height, uint16_t width)
{
    span_t span = {at, (uint64_t)sel_stride(channels) * height * width};

    return span;
}

static span_t input_span(const sel_layer_t *layer, uint32_t at)
{
    return tensor_span(at, layer->in_channels, layer->in_height, layer->in_width);
}

static span_t output_span(const sel_image_t *image, const sel_layer_t *layer, uint16_t number)
{
    span_t span = tensor_span(layer->out, layer->out_channels, layer->out_height, layer->out_width);

    if (number + 1 == image->layers)
        span.bytes = 2u * (uint32_t)layer->out_channels;
    return span;
}

static int overlap(span_t one, span_t other)
{
    return one.at < other.at + other.bytes && other.at < one.at + one.bytes;
}

static int is_inside(const sel_image_t *image, span_t span)
{
    return span.at % 4 == 0 && span.at + span.bytes <= image->arena_bytes - image->scratch_bytes;
}

int sel_image_outputs_overlap(const sel_image_t *image, uint16_t one, uint16_t other)
{
    sel_layer_t layer;
    span_t span;

    sel_image_layer(image, one, &layer);
    span = output_span(image, &layer, one);
    sel_image_layer(image, other, &layer);
    return overlap(span, output_span(image, &layer, other));
}

static int window_fits(uint32_t in, uint32_t before, uint32_t after, uint32_t kernel, uint32_t stride,
                       uint32_t out)
{
    uint32_t padded = in + before + after;

    return kernel && stride && padded >= kernel && (padded - kernel) / stride + 1 == out;
}

static int windows_fit(const sel_layer_t *layer)
{
    return window_fits(layer->in_height, layer->pad_top, layer->pad_bottom, layer->kernel_height,
                       layer->stride_down, layer->out_height) &&
           window_fits(layer->in_width, layer->pad_left, layer->pad_right, layer->kernel_width,
                       layer->stride_right, layer->out_width);
}

static int pads_are_smaller(const sel_layer_t *layer)
{
    return layer->pad_top < layer->kernel_height && layer->pad_bottom < layer->kernel_height &&
           layer->pad_left < layer->kernel_width && layer->pad_right < layer->kernel_width;
}

static int keeps_shape(const sel_layer_t *layer)
{
    return layer->in_channels == layer->out_channels && layer->in_height == layer->out_height &&
           layer->in_width == layer->out_width;
}

static int is_point(const sel_layer_t *layer)
{
    int has_pads = layer->pad_top | layer->pad_left | layer->pad_bottom | layer->pad_right;

    return layer->in_height == 1 && layer->in_width == 1 && layer->kernel_height == 1 &&
           layer->kernel_width == 1 && !has_pads;
}

static int row_is_right(const sel_layer_t *layer)
{
    uint32_t channels;
    uint64_t bytes;

    if (!layer->groups || layer->in_channels % layer->groups || layer->out_channels % layer->groups)
        return 0;
    channels = layer->in_channels / (uint32_t)layer->groups;
    bytes = (uint64_t)layer->kernel_height * layer->kernel_width * ((channels + 3) & ~3u);
    return bytes == layer->row_bytes && bytes * (255 * 64) < LIMIT;
}

static int shape_is_right(const sel_layer_t *layer)
{
    if (!layer->in_channels || !layer->in_height || !layer->in_width || !layer->out_channels)
        return 0;
    switch (layer->operation) {
    case SEL_CONV:
        return windows_fit(layer) && row_is_right(layer);
    case SEL_LINEAR:
        return is_point(layer) && windows_fit(layer) && layer->groups == 1 && row_is_right(layer);
    case SEL_ADD:
    case SEL_RELU:
        return keeps_shape(layer);
    case SEL_MAX_POOL:
        return layer->in_channels == layer->out_channels && windows_fit(layer) && pads_are_smaller(layer);
    case SEL_AVERAGE_POOL:
        return layer->in_channels == layer->out_channels && windows_fit(layer) &&
               (uint32_t)layer->kernel_height * layer->kernel_width <= MOST_CELLS;
    default:
        return layer->in_channels == layer->out_channels && layer->out_height == 1 && layer->out_width == 1 &&
               (uint32_t)layer->in_height * layer->in_width <= MOST_CELLS;
    }
}

/* Whether sums between these stay in 32 bits. */
static int is_sum(int64_t least, int64_t most)
{
    return least > -(int64_t)LIMIT && most < (int64_t)LIMIT;
}

/* What q * multiplier can be at least and at most, q being a byte, is added to these. */
static void add_range(int64_t *least, int64_t *most, int64_t multiplier)
{
    *(multiplier < 0 ? least : most) += 255 * multiplier;
}

/* The sums of a layer without weights. */
static int sums_are_right(const sel_layer_t *layer)
{
    int64_t least = layer->constant, most = layer->constant;
    int64_t cells = (int64_t)layer->kernel_height * layer->kernel_width;

    if (layer->operation == SEL_RELU || layer->operation == SEL_MAX_POOL)
        return 1;
    if (layer->shift < 1 || layer->shift > MOST_SHIFT)
        return 0;
    if (layer->operation == SEL_GLOBAL_AVERAGE)
        cells = (int64_t)layer->in_height * layer->in_width;
    if (layer->operation != SEL_ADD) {
        add_range(&least, &most, cells);
        return is_sum(256 * least, 256 * most);
    }
    add_range(&least, &most, layer->multiplier);
    add_range(&least, &most, layer->second_multiplier);
    return is_sum(least, most);
}

static int weights_are_right(const sel_layer_t *layer, const uint8_t *row)
{
    uint32_t channels = layer->in_channels / (uint32_t)layer->groups;
    uint32_t ky, c, kx, lane;

    for (ky = 0; ky < layer->kernel_height; ky++)
        for (c = 0; c < channels; c += 4)
            for (kx = 0; kx < layer->kernel_width; kx++, row += 4)
                for (lane = 0; lane < 4; lane++)
                    if (c + lane < channels ? row[lane] < 1 || row[lane] > 127 : row[lane] != 64)
                        return 0;
    return 1;
}

int sel_channel_is_right(const sel_layer_t *layer, const uint8_t *parameters, const uint8_t *row)
{
    int64_t bias = (int32_t)sel_get32(parameters);
    int64_t products = 255 * 64 * (int64_t)layer->row_bytes;

    return parameters[4] >= 1 && parameters[4] <= MOST_SHIFT && is_sum(bias - products, bias + products) &&
           (!row || weights_are_right(layer, row));
}

static int channels_are_right(const sel_image_t *image, const sel_layer_t *layer, uint16_t number)
{
    uint64_t count = sel_image_rows(image, layer, number);
    const uint8_t *row = image->base + layer->rows_at, *parameters = image->base + layer->parameters_at;

    if (layer->rows_at % 16 || layer->parameters_at % 16 ||
        layer->rows_at + count * layer->row_bytes > image->bytes ||
        layer->parameters_at + count * SEL_PARAMETER_BYTES > image->bytes)
        return 0;
    for (; count; count--, row += layer->row_bytes, parameters += SEL_PARAMETER_BYTES)
        if (!sel_channel_is_right(layer, parameters, row))
            return 0;
    return 1;
}

/* Whether an input of layer `number`, at `at`, is all of what stands there by then. */
static sel_image_fault_t input_fault(const sel_image_t *image, const sel_layer_t *layer, uint16_t number,
                                     uint32_t at, uint8_t zero)
{
    span_t wanted = input_span(layer, at);
    sel_layer_t maker;

    if (!is_inside(image, wanted))
        return SEL_BAD_TENSOR;
    while (number--) {
        sel_image_layer(image, number, &maker);
        if (!overlap(wanted, output_span(image, &maker, number)))
            continue;
        if (maker.out != at || maker.out_channels != layer->in_channels ||
            maker.out_height != layer->in_height || maker.out_width != layer->in_width)
            return SEL_BAD_TENSOR;
        return maker.zero_out == zero ? 0 : SEL_BAD_ZERO;
    }
    if (image->input != at || image->channels != layer->in_channels || image->height != layer->in_height ||
        image->width != layer->in_width)
        return SEL_BAD_TENSOR;
    return 0;
}

static sel_image_fault_t tensor_fault(const sel_image_t *image, const sel_layer_t *layer, uint16_t number)
{
    span_t out = output_span(image, layer, number);
    int in_place = layer->operation == SEL_ADD || layer->operation == SEL_RELU;
    sel_image_fault_t fault = input_fault(image, layer, number, layer->in, layer->zero_in);

    if (!fault && layer->operation == SEL_ADD)
        fault = input_fault(image, layer, number, layer->second, layer->zero_second);
    if (fault)
        return fault;
    if (!is_inside(image, out))
        return SEL_BAD_TENSOR;
    if (overlap(out, input_span(layer, layer->in)) && !(in_place && layer->out == layer->in))
        return SEL_BAD_TENSOR;
    if (layer->operation == SEL_ADD && overlap(out, input_span(layer, layer->second)) &&
        layer->out != layer->second)
        return SEL_BAD_TENSOR;
    if ((layer->operation == SEL_RELU || layer->operation == SEL_MAX_POOL) &&
        layer->zero_out != layer->zero_in)
        return SEL_BAD_ZERO;
    return 0;
}

static int zeros_are_right(const sel_layer_t *layer)
{
    uint32_t i, others = layer->zero_1 | layer->zero_38 | layer->zero_43 | layer->zero_46;

    for (i = 0; i < sizeof layer->zeros; i++)
        others |= layer->zeros[i];
    return others == 0;
}

static sel_image_fault_t layer_fault(const sel_image_t *image, uint16_t number, uint32_t *entries)
{
    int is_last = number + 1 == image->layers;
    sel_image_fault_t fault;
    sel_layer_t layer;

    sel_image_layer(image, number, &layer);
    if (layer.operation < SEL_CONV || layer.operation > SEL_RELU || !zeros_are_right(&layer) ||
        layer.least > layer.greatest)
        return SEL_BAD_LAYER;
    if (is_last &&
        (layer.operation != SEL_LINEAR || layer.out_channels != image->most_classes || layer.zero_out))
        return SEL_BAD_LAYER;
    if (layer.first_entry != *entries)
        return SEL_BAD_LAYER;
    if (!shape_is_right(&layer))
        return SEL_BAD_SHAPE;
    if (number == image->features_layer &&
        (layer.out_channels != image->features || layer.out_height != 1 || layer.out_width != 1))
        return SEL_BAD_SHAPE;
    fault = tensor_fault(image, &layer, number);
    if (fault)
        return fault;
    if (sel_fast_scratch_bytes(&layer) > image->scratch_bytes)
        return SEL_BAD_SCRATCH;
    if (!sel_layer_has_weights(&layer))
        return sums_are_right(&layer) ? 0 : SEL_BAD_CHANNEL;
    *entries += layer.out_channels;
    return channels_are_right(image, &layer, number) ? 0 : SEL_BAD_CHANNEL;
}

uint32_t sel_image_check_layers(const sel_image_t *image)
{
    uint32_t entries = 0;
    uint16_t i;

    for (i = 0; i < image->layers; i++) {
        sel_image_fault_t fault = layer_fault(image, i, &entries);

        if (fault)
            return (uint32_t)fault + 256u * i;
    }
    return entries == image->entries ? 0 : SEL_BAD_HEADER;
}
