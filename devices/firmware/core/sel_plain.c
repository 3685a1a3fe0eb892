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

void sel_plain_convolve(const sel_layer_t *layer, const sel_channel_t *channels, uint16_t classes,
                        uint8_t *arena)
{
    const uint8_t *in = arena + layer->in;
    uint8_t *out = arena + layer->out;
    uint32_t group_out = layer->out_channels / (uint32_t)layer->groups;
    uint32_t group_in = layer->in_channels / (uint32_t)layer->groups;
    uint32_t count = classes ? classes : layer->out_channels;
    uint32_t y, x, n;

    for (y = 0; y < layer->out_height; y++)
        for (x = 0; x < layer->out_width; x++, out += sel_stride(layer->out_channels))
            for (n = 0; n < count; n++) {
                sel_scale_t scale = sel_scale(channels[n].parameters);
                int32_t sum = accumulate(layer, &channels[n], in, y, x, n / group_out * group_in);
                int32_t value = sel_rescale(sum, scale.multiplier, scale.shift) + layer->zero_out;

                if (classes)
                    ((int16_t *)(void *)out)[n] = (int16_t)sel_clamp(value, INT16_MIN, INT16_MAX);
                else
                    out[n] = (uint8_t)sel_clamp(value, layer->least, layer->greatest);
            }
}

/* ADD and RELU, element by element; the bytes beyond the channels are computed as well. */
static void add(const sel_layer_t *layer, uint8_t *arena)
{
    const sel_layer_t own = *layer; /* what is written might be the layer, says the language */
    const uint8_t *in = arena + own.in, *second = arena + own.second;
    const uint8_t *end = in + (uint32_t)own.out_height * own.out_width * sel_stride(own.out_channels);
    uint8_t *out = arena + own.out;
    /* Unsigned, since the sum fits 32 bits, but not always what is added first. */
    uint32_t multiplier = (uint32_t)own.multiplier, other = (uint32_t)own.second_multiplier;
    uint32_t constant = (uint32_t)own.constant, shift = own.shift;

    if (own.operation == SEL_RELU) {
        second = in;
        multiplier = 1;
        other = constant = shift = 0;
    }
    while (in != end) {
        uint32_t sum = *in++ * multiplier + *second++ * other + constant;

        *out++ = (uint8_t)sel_clamp((int32_t)sum >> shift, own.least, own.greatest);
    }
}

/* What a value of a pool's output is of: pixels from (top, left) on. */
typedef struct {
    int32_t top, left, height, width;
} window_t;

static window_t window_of(const sel_layer_t *layer, uint32_t y, uint32_t x)
{
    window_t window = {0, 0, layer->in_height, layer->in_width};

    if (layer->operation != SEL_GLOBAL_AVERAGE) {
        window.top = (int32_t)(y * layer->stride_down) - layer->pad_top;
        window.left = (int32_t)(x * layer->stride_right) - layer->pad_left;
        window.height = layer->kernel_height;
        window.width = layer->kernel_width;
    }
    return window;
}

/* in: the first pixel's channel. */
static uint8_t pooled(const sel_layer_t *layer, const window_t *window, const uint8_t *in)
{
    uint32_t sum = (uint32_t)layer->constant; /* may be anything for MAX_POOL */
    int32_t y, x, value, most = 0;

    for (y = window->top; y < window->top + window->height; y++)
        for (x = window->left; x < window->left + window->width; x++) {
            const uint8_t *pixel = pixel_at(layer, in, y, x);

            sum += pixel ? *pixel : layer->zero_in;
            most = pixel && *pixel > most ? *pixel : most;
        }
    if (layer->operation == SEL_MAX_POOL)
        return (uint8_t)most;
    value = sel_rescale((int32_t)(sum * 256), layer->multiplier, layer->shift) + layer->zero_out;
    return (uint8_t)sel_clamp(value, layer->least, layer->greatest);
}

void sel_plain_other(const sel_layer_t *layer, uint8_t *arena)
{
    const uint8_t *in = arena + layer->in;
    uint8_t *out = arena + layer->out;
    uint32_t y, x, c;

    if (layer->operation == SEL_ADD || layer->operation == SEL_RELU) {
        add(layer, arena);
        return;
    }
    for (y = 0; y < layer->out_height; y++)
        for (x = 0; x < layer->out_width; x++, out += sel_stride(layer->out_channels)) {
            window_t window = window_of(layer, y, x);

            for (c = 0; c < layer->out_channels; c++)
                out[c] = pooled(layer, &window, in + c);
        }
}
