/* The reference: every layer as docs/SPEC.md writes it down. */
#include "sel_kernels.h"

/* The byte of a tensor at (y, x), channel 0; NULL in the padding. */
static const uint8_t *pixel_at(const sel_layer_t *layer, const uint8_t *in, int32_t y, int32_t x)
{
    if (y < 0 || x < 0 || y >= layer->in_height || x >= layer->in_width)
        return 0;
    return in + ((uint32_t)y * layer->in_width + (uint32_t)x) * sel_stride(layer->in_channels);
}

/* Products of one pixel's channels and their weights, which stand in groups of 4, `step` bytes apart. */
static int32_t products(const uint8_t *pixel, const uint8_t *weights, uint32_t channels, uint32_t step)
{
    int32_t sum = 0;
    uint32_t c;

    for (; channels >= 4; channels -= 4, pixel += 4, weights += step) {
        sum += pixel[0] * (weights[0] - 64);
        sum += pixel[1] * (weights[1] - 64);
        sum += pixel[2] * (weights[2] - 64);
        sum += pixel[3] * (weights[3] - 64);
    }
    for (c = 0; c < channels; c++)
        sum += pixel[c] * (weights[c] - 64);
    return sum;
}

/* The same for a pixel of the padding. */
static int32_t padding(int32_t zero, const uint8_t *weights, uint32_t channels, uint32_t step)
{
    int32_t sum = 0;
    uint32_t c;

    for (c = 0; c < channels; c++)
        sum += weights[(c >> 2) * step + (c & 3)] - 64;
    return zero * sum;
}

/* bias + sum (q * w) of one value of the output. channel: of the input, the first of the group. */
static int32_t accumulate(const sel_layer_t *layer, const sel_channel_t *to, const uint8_t *in,
                          uint32_t out_y, uint32_t out_x, uint32_t channel)
{
    uint32_t channels = layer->in_channels / (uint32_t)layer->groups;
    uint32_t step = 4u * layer->kernel_width;
    int32_t top = (int32_t)(out_y * layer->stride_down) - layer->pad_top;
    int32_t left = (int32_t)(out_x * layer->stride_right) - layer->pad_left;
    int32_t sum = (int32_t)sel_scale(to->parameters).bias;
    const uint8_t *weights = to->row;
    int32_t y, x;

    for (y = top; y < top + layer->kernel_height; y++, weights += (channels + 3) / 4 * step - step)
        for (x = left; x < left + layer->kernel_width; x++, weights += 4) {
            const uint8_t *pixel = pixel_at(layer, in, y, x);

            sum += pixel ? products(pixel + channel, weights, channels, step)
                         : padding(layer->zero_in, weights, channels, step);
        }
    return sum;
}

void sel_plain_convolve(const sel_layer_t *layer, const sel_channel_t *channels, uint8_t *arena)
{
    const uint8_t *in = arena + layer->in;
    uint8_t *out = arena + layer->out;
    uint32_t group_out = layer->out_channels / (uint32_t)layer->groups;
    uint32_t group_in = layer->in_channels / (uint32_t)layer->groups;
    uint32_t y, x, n;

    for (y = 0; y < layer->out_height; y++)
        for (x = 0; x < layer->out_width; x++, out += sel_stride(layer->out_channels))
            for (n = 0; n < layer->out_channels; n++) {
                sel_scale_t scale = sel_scale(channels[n].parameters);
                int32_t sum = accumulate(layer, &channels[n], in, y, x, n / group_out * group_in);
                int32_t value = sel_rescale(sum, scale.multiplier, scale.shift) + layer->zero_out;

                out[n] = (uint8_t)sel_clamp(value, layer->least, layer->greatest);
            }
}

void sel_plain_classify(const sel_layer_t *layer, const sel_channel_t *channels, uint16_t classes,
                        uint8_t *arena)
{
    int16_t *logits = (int16_t *)(void *)(arena + layer->out);
    uint32_t n;

    for (n = 0; n < classes; n++) {
        sel_scale_t scale = sel_scale(channels[n].parameters);
        int32_t sum = accumulate(layer, &channels[n], arena + layer->in, 0, 0, 0);

        logits[n] = (int16_t)sel_clamp(sel_rescale(sum, scale.multiplier, scale.shift), INT16_MIN, INT16_MAX);
    }
}

/* Element by element; the bytes beyond the channels are computed as well. */
static void add(const sel_layer_t *layer, const uint8_t *in, const uint8_t *second, uint8_t *out)
{
    uint32_t count = (uint32_t)layer->out_height * layer->out_width * sel_stride(layer->out_channels);
    /* Unsigned, since the sum fits 32 bits, but not always what is added first. */
    uint32_t multiplier = (uint32_t)layer->multiplier, other = (uint32_t)layer->second_multiplier;
    uint32_t constant = (uint32_t)layer->constant;
    int32_t least = layer->least, greatest = layer->greatest;
    uint8_t shift = layer->shift;
    const uint8_t *end = in + count;

    while (in != end) {
        uint32_t sum = *in++ * multiplier + *second++ * other + constant;

        *out++ = (uint8_t)sel_clamp((int32_t)sum >> shift, least, greatest);
    }
}

static void relu(const sel_layer_t *layer, const uint8_t *in, uint8_t *out)
{
    uint32_t count = (uint32_t)layer->out_height * layer->out_width * sel_stride(layer->out_channels);
    const uint8_t *end = in + count;

    while (in != end)
        *out++ = (uint8_t)sel_clamp(*in++, layer->least, layer->greatest);
}

/* One value of a pool's output; in: the first pixel's channel. */
static uint8_t pool_value(const sel_layer_t *layer, const uint8_t *in, uint32_t out_y, uint32_t out_x)
{
    int32_t top = (int32_t)(out_y * layer->stride_down) - layer->pad_top;
    int32_t left = (int32_t)(out_x * layer->stride_right) - layer->pad_left;
    int32_t y, x, value, sum = layer->constant, most = 0;

    for (y = top; y < top + layer->kernel_height; y++)
        for (x = left; x < left + layer->kernel_width; x++) {
            const uint8_t *pixel = pixel_at(layer, in, y, x);

            sum += pixel ? *pixel : layer->zero_in;
            most = pixel && *pixel > most ? *pixel : most;
        }
    if (layer->operation == SEL_MAX_POOL)
        return (uint8_t)most;
    value = sel_rescale(sum * 256, layer->multiplier, layer->shift) + layer->zero_out;
    return (uint8_t)sel_clamp(value, layer->least, layer->greatest);
}

static void pool(const sel_layer_t *layer, const uint8_t *in, uint8_t *out)
{
    uint32_t y, x, c;

    for (y = 0; y < layer->out_height; y++)
        for (x = 0; x < layer->out_width; x++, out += sel_stride(layer->out_channels))
            for (c = 0; c < layer->out_channels; c++)
                out[c] = pool_value(layer, in + c, y, x);
}

static void global_average(const sel_layer_t *layer, const uint8_t *in, uint8_t *out)
{
    uint32_t stride = sel_stride(layer->in_channels);
    uint32_t cells = (uint32_t)layer->in_height * layer->in_width;
    uint32_t i, c;

    for (c = 0; c < layer->out_channels; c++) {
        int32_t sum = layer->constant;

        for (i = 0; i < cells; i++)
            sum += in[i * stride + c];
        sum = sel_rescale(sum * 256, layer->multiplier, layer->shift) + layer->zero_out;
        out[c] = (uint8_t)sel_clamp(sum, layer->least, layer->greatest);
    }
}

void sel_plain_other(const sel_layer_t *layer, uint8_t *arena)
{
    const uint8_t *in = arena + layer->in;
    uint8_t *out = arena + layer->out;

    switch (layer->operation) {
    case SEL_ADD:
        add(layer, in, arena + layer->second, out);
        break;
    case SEL_RELU:
        relu(layer, in, out);
        break;
    case SEL_GLOBAL_AVERAGE:
        global_average(layer, in, out);
        break;
    default:
        pool(layer, in, out);
    }
}
