/* Whether the arena and the layers of an image are such that it can be executed: shapes, tensors, weights. */
#include <string.h>

#include "sel_image.h"
#include "sel_kernels.h"

#define MOST_CELLS 32768u
#define MOST_SHIFT 30u
#define LIMIT (1u << 31) /* what no sum reaches */
#define MOST_POOLED (1 << 23) /* what a pool's sum does not reach, which is multiplied by 256 */

/* A tensor and where it lies in the arena. Filled whole, so that two can be compared. */
typedef struct {
    uint32_t at, bytes, channels, height, width;
} tensor_t;

/* More bytes than an arena may have are UINT32_MAX. */
static tensor_t tensor(uint32_t at, uint16_t channels, uint16_t height, uint16_t width)
{
    uint64_t bytes = (uint64_t)(sel_stride(channels) * height) * width;
    tensor_t tensor = {at, bytes > SEL_MAX_BYTES ? UINT32_MAX : (uint32_t)bytes, channels, height, width};

    return tensor;
}

static tensor_t input_of(const sel_image_t *image)
{
    return tensor(image->input, image->channels, image->height, image->width);
}

static tensor_t output_of(const sel_image_t *image, uint32_t number)
{
    const sel_layer_t *layer = sel_image_layer(image, number);
    tensor_t output = tensor(layer->out, layer->out_channels, layer->out_height, layer->out_width);

    if (number + 1 == image->layers)
        output.bytes = 2u * output.channels;
    return output;
}

/* Whether two tensors that are inside the arena share bytes. */
static int overlap(const tensor_t *one, const tensor_t *other)
{
    return one->at < other->at + other->bytes && other->at < one->at + one->bytes;
}

static int is_inside(const sel_image_t *image, const tensor_t *tensor)
{
    uint32_t room = image->arena_bytes - image->scratch_bytes;

    return tensor->at % 4 == 0 && tensor->at <= room && tensor->bytes <= room - tensor->at;
}

int sel_image_outputs_overlap(const sel_image_t *image, uint16_t one, uint16_t other)
{
    tensor_t outputs[2];

    outputs[0] = output_of(image, one);
    outputs[1] = output_of(image, other);
    return overlap(&outputs[0], &outputs[1]);
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
    uint32_t channels, bytes;

    if (!layer->groups || layer->in_channels % layer->groups || layer->out_channels % layer->groups)
        return 0;
    channels = layer->in_channels / (uint32_t)layer->groups;
    bytes = (uint32_t)layer->kernel_height * layer->kernel_width;
    bytes *= (channels + 3) & ~3u; /* 255 * 255 * 65536 at most */
    return bytes == layer->row_bytes && bytes <= (LIMIT - 1) / (255 * 64);
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

/* Whether a * multiplier + b * second + constant stays below the limit, a and b being bytes. */
static int addition_is_right(const sel_layer_t *layer)
{
    uint32_t constant = (uint32_t)layer->constant, room[2] = {LIMIT - 1 - constant, LIMIT - 1 + constant};
    int32_t multiplier = layer->multiplier;
    uint32_t i;

    for (i = 0; i < 2; i++, multiplier = layer->second_multiplier) {
        uint32_t is_negative = multiplier < 0;
        uint32_t size = is_negative ? -(uint32_t)multiplier : (uint32_t)multiplier;

        if (size > room[is_negative] / 255)
            return 0;
        room[is_negative] -= 255 * size;
    }
    return constant != LIMIT;
}

/* The sums of a layer without weights. */
static int sums_are_right(const sel_layer_t *layer)
{
    int32_t cells = layer->kernel_height * layer->kernel_width;

    if (layer->operation == SEL_RELU || layer->operation == SEL_MAX_POOL)
        return 1;
    if (layer->shift < 1 || layer->shift > MOST_SHIFT)
        return 0;
    if (layer->operation == SEL_ADD)
        return addition_is_right(layer);
    if (layer->operation == SEL_GLOBAL_AVERAGE)
        cells = layer->in_height * layer->in_width;
    return layer->constant > -MOST_POOLED && layer->constant < MOST_POOLED - 255 * cells;
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
    sel_scale_t scale = sel_scale(parameters);
    uint32_t size = scale.bias < LIMIT ? scale.bias : -scale.bias;

    return scale.shift >= 1 && scale.shift <= MOST_SHIFT && size + 255 * 64 * layer->row_bytes < LIMIT &&
           (!row || weights_are_right(layer, row));
}

static int is_section(const sel_image_t *image, uint32_t at, uint32_t count, uint32_t each)
{
    return at % 16 == 0 && at <= image->bytes && (uint64_t)count * each <= image->bytes - at;
}

static int channels_are_right(const sel_image_t *image, const sel_layer_t *layer, uint16_t number)
{
    uint32_t count = sel_image_rows(image, layer, number);
    const uint8_t *row = image->base + layer->rows_at, *parameters = image->base + layer->parameters_at;

    if (!is_section(image, layer->rows_at, count, layer->row_bytes) ||
        !is_section(image, layer->parameters_at, count, SEL_PARAMETER_BYTES))
        return 0;
    for (; count; count--, row += layer->row_bytes, parameters += SEL_PARAMETER_BYTES)
        if (!sel_channel_is_right(layer, parameters, row))
            return 0;
    return 1;
}

/* Whether an input of layer `number`, at `at`, is all of what stands there by then, and its output spares
 * it. */
static sel_image_fault_t input_fault(const sel_image_t *image, uint32_t number, uint32_t at, uint8_t zero)
{
    const sel_layer_t *layer = sel_image_layer(image, number);
    tensor_t input = tensor(at, layer->in_channels, layer->in_height, layer->in_width);
    tensor_t made = output_of(image, number);
    int in_place = (layer->operation == SEL_ADD || layer->operation == SEL_RELU) && made.at == at;

    if (!is_inside(image, &input) || (overlap(&made, &input) && !in_place))
        return SEL_BAD_TENSOR;
    while (number--) {
        made = output_of(image, number);
        if (overlap(&made, &input)) {
            if (memcmp(&made, &input, sizeof made) != 0)
                return SEL_BAD_TENSOR;
            return sel_image_layer(image, number)->zero_out == zero ? 0 : SEL_BAD_ZERO;
        }
    }
    made = input_of(image);
    return memcmp(&made, &input, sizeof made) == 0 ? 0 : SEL_BAD_TENSOR;
}

static sel_image_fault_t tensor_fault(const sel_image_t *image, const sel_layer_t *layer, uint16_t number)
{
    tensor_t out = output_of(image, number);
    sel_image_fault_t fault;

    if (!is_inside(image, &out))
        return SEL_BAD_TENSOR;
    fault = input_fault(image, number, layer->in, layer->zero_in);
    if (!fault && layer->operation == SEL_ADD)
        fault = input_fault(image, number, layer->second, layer->zero_second);
    if (!fault && (layer->operation == SEL_RELU || layer->operation == SEL_MAX_POOL) &&
        layer->zero_out != layer->zero_in)
        fault = SEL_BAD_ZERO;
    return fault;
}

static int zeros_are_right(const sel_layer_t *layer)
{
    uint32_t i, others = layer->zero_1 | layer->zero_38 | layer->zero_43 | layer->zero_46;

    for (i = 0; i < sizeof layer->zeros; i++)
        others |= layer->zeros[i];
    return others == 0;
}

static int kind_is_right(const sel_image_t *image, const sel_layer_t *layer, int is_last)
{
    return layer->operation >= SEL_CONV && layer->operation <= SEL_RELU && zeros_are_right(layer) &&
           layer->least <= layer->greatest &&
           (!is_last || (layer->operation == SEL_LINEAR && layer->out_channels == image->most_classes &&
                         !layer->zero_out));
}

static int are_features(const sel_image_t *image, const sel_layer_t *layer)
{
    return layer->out_channels == image->features && layer->out_height == 1 && layer->out_width == 1;
}

static sel_image_fault_t layer_fault(const sel_image_t *image, uint16_t number, uint32_t *entries)
{
    const sel_layer_t *layer = sel_image_layer(image, number);
    sel_image_fault_t fault;

    if (!kind_is_right(image, layer, number + 1 == image->layers) || layer->first_entry != *entries)
        return SEL_BAD_LAYER;
    if (!shape_is_right(layer) || (number == image->features_layer && !are_features(image, layer)))
        return SEL_BAD_SHAPE;
    fault = tensor_fault(image, layer, number);
    if (fault)
        return fault;
    if (sel_fast_scratch_bytes(layer) > image->scratch_bytes)
        return SEL_BAD_SCRATCH;
    if (!sel_layer_has_weights(layer))
        return sums_are_right(layer) ? 0 : SEL_BAD_CHANNEL;
    *entries += layer->out_channels;
    return channels_are_right(image, layer, number) ? 0 : SEL_BAD_CHANNEL;
}

static int arena_is_right(const sel_image_t *image)
{
    tensor_t input = input_of(image);

    return image->scratch_bytes <= image->arena_bytes && image->arena_bytes <= SEL_MAX_BYTES &&
           (image->arena_bytes - image->scratch_bytes) % 4 == 0 && is_inside(image, &input);
}

uint32_t sel_image_check_layers(const sel_image_t *image)
{
    uint32_t entries = 0;
    uint16_t i;

    if (!arena_is_right(image))
        return SEL_BAD_ARENA;
    for (i = 0; i < image->layers; i++) {
        sel_image_fault_t fault = layer_fault(image, i, &entries);

        if (fault)
            return (uint32_t)fault + 256u * i;
    }
    return entries == image->entries ? 0 : SEL_BAD_HEADER;
}
