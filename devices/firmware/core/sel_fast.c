/* Convolution for cores without vector unit: two multiply-adds in one 32-bit multiplication.
 *
 * Four channels of a pixel are packed into two words of two lanes each: channels 2 and 0, and 3 and 1, the
 * lower lane first. Weights stand in the row as w + 64, four channels in a word, so that masking alone gives
 * lanes 0 and 2, and 1 and 3. The upper half of the product of such words is the sum of two products: it is
 * below 2^16, and so is what is below it. 64 times the sum of all activations is taken off at the start.
 *
 * Two rows of the output are computed at a time, a strip of columns after the other. What they see of the
 * input is packed: rows of [group of 4 channels][column][2] words, then per row the sums of each column's
 * channels, then 64 times what each pixel of the two rows sees in all. A block is two channels of two quads,
 * four neighbours each: one below the other, or side by side where the output has a single row.
 */
#include "sel_kernels.h"

#define LANES 0x00FF00FFu
#define QUAD 4u
#define STRIP 32u
#define MOST_CHANNELS 512u /* of which a pixel's sum, in two lanes, fits 16 bits each */
#define INLINE static inline __attribute__((always_inline))

typedef struct strip strip_t;

struct strip {
    const sel_layer_t *layer;
    const uint8_t *in;
    uint8_t *out;
    uint32_t groups;
    uint32_t columns;      /* of a packed row */
    uint32_t stride_right; /* packed columns from one pixel of the output to the next */
    uint32_t skip;         /* columns of the input from one packed column to the next */
    uint32_t rows, row_words;
    uint32_t is_single;   /* the output has one row */
    uint32_t second_quad; /* words from the first quad's packed pixels to the second's */
    sel_word_t *packed, *sums, *surplus;
    uint32_t second_surplus; /* words from the first quad's to the second's */
    void (*add_block)(const strip_t *strip, uint32_t x, const sel_channel_t *channels, uint32_t *sums);
};

static void lay_out(strip_t *strip, const sel_layer_t *layer)
{
    uint32_t unit, width;

    strip->layer = layer;
    strip->is_single = layer->out_height == 1;
    unit = strip->is_single ? 2 * QUAD : QUAD;
    width = (layer->out_width + unit - 1) / unit * unit;
    width = width < STRIP ? width : STRIP;
    strip->groups = (layer->in_channels + 3u) / 4;
    strip->stride_right = layer->kernel_width == 1 ? 1 : layer->stride_right;
    strip->skip = layer->kernel_width == 1 ? layer->stride_right : 1;
    strip->columns = (width - 1) * strip->stride_right + layer->kernel_width;
    strip->rows = layer->kernel_height + (strip->is_single ? 0u : layer->stride_down);
    strip->row_words = 2 * strip->columns * strip->groups;
    strip->second_quad = strip->is_single ? 2 * QUAD * strip->stride_right
                                          : layer->stride_down * strip->row_words;
    strip->second_surplus = strip->is_single ? QUAD : strip->columns;
}

uint32_t sel_fast_scratch_bytes(const sel_layer_t *layer)
{
    strip_t strip;

    if (layer->operation != SEL_CONV || layer->groups != 1 || layer->out_width == 1 ||
        layer->in_channels > MOST_CHANNELS)
        return 0;
    if (layer->kernel_width > 1 && layer->stride_right > 2)
        return 0;
    lay_out(&strip, layer);
    return 4 * (strip.rows * (strip.row_words + strip.columns) + 2 * strip.columns); /* below 2^28 */
}

/* Packs four channels; returns two sums of two of them, in two lanes. */
INLINE uint32_t pack_group(uint32_t word, sel_word_t *to)
{
    uint32_t turned = (word << 16) | (word >> 16);
    uint32_t even = turned & LANES, odd = (turned >> 8) & LANES;

    to[0] = even;
    to[1] = odd;
    return even + odd;
}

/* Packs a row of the padded input. column: its first, of the padded input. */
static void pack_row(const strip_t *strip, uint32_t row, uint32_t column, sel_word_t *to, sel_word_t *sums)
{
    const sel_layer_t *layer = strip->layer;
    uint32_t y = row - layer->pad_top; /* wraps around to beyond the height */
    uint32_t x = column - layer->pad_left;
    uint32_t width = y < layer->in_height ? layer->in_width : 0;
    uint32_t zeros = layer->zero_in * 0x01010101u, skip = strip->skip;
    uint32_t stride = sel_stride(layer->in_channels), step = 2 * strip->columns;
    uint32_t row_words = strip->row_words;
    const uint8_t *pixels = strip->in + y * layer->in_width * stride;
    const sel_word_t *last = sums + strip->columns;

    for (; sums != last; sums++, to += 2, x += skip) {
        const sel_word_t *pixel = (const sel_word_t *)(const void *)(pixels + x * stride);
        sel_word_t *group = to, *end = to + row_words;
        uint32_t sum = 0;

        if (x < width)
            for (; group != end; group += step)
                sum += pack_group(*pixel++, group);
        else
            for (; group != end; group += step)
                sum += pack_group(zeros, group);
        *sums = (sum & 0xFFFFu) + (sum >> 16);
    }
}

/* 64 times what each pixel of a row of the output sees: weights are stored as w + 64. */
static void find_surplus(const strip_t *strip, const sel_word_t *sums, sel_word_t *surplus)
{
    uint32_t columns = strip->columns, stride = strip->stride_right;
    uint32_t height = strip->layer->kernel_height, width = strip->layer->kernel_width;
    uint32_t i, k, total;

    for (i = 0; i < columns; i++) {
        for (total = 0, k = 0; k < height; k++)
            total += sums[k * columns + i];
        surplus[i] = total << 6;
    }
    for (i = 0; i * stride + width <= columns; i++) {
        for (total = 0, k = 0; k < width; k++)
            total += surplus[i * stride + k];
        surplus[i] = total; /* nobody needs the column's own sum any more */
    }
}

/* Moves words towards the start; one more if their number is odd. */
static void move(sel_word_t *to, const sel_word_t *from, uint32_t count)
{
    const sel_word_t *end = from + count;

    for (; from < end; from += 2, to += 2) {
        uint32_t first = from[0], second = from[1];

        to[0] = first;
        to[1] = second;
    }
}

/* Packs what two rows of the output see, that of `y` and the next. first: their first column. */
static void pack_rows(const strip_t *strip, uint32_t y, uint32_t first)
{
    const sel_layer_t *layer = strip->layer;
    uint32_t down = layer->stride_down, columns = strip->columns;
    uint32_t row = 0;

    if (y && strip->rows > 2 * down) {
        row = strip->rows - 2 * down;
        move(strip->packed, strip->packed + 2 * down * strip->row_words, row * strip->row_words);
        move(strip->sums, strip->sums + 2 * down * columns, row * columns);
    }
    for (; row < strip->rows; row++)
        if (row < layer->kernel_height || row >= down)
            pack_row(strip, y * down + row, first * layer->stride_right,
                     strip->packed + row * strip->row_words, strip->sums + row * columns);
    find_surplus(strip, strip->sums, strip->surplus);
    if (!strip->is_single)
        find_surplus(strip, strip->sums + down * columns, strip->surplus + columns);
}

/* Adds a packed pixel's products with two lanes of two channels. On RISC-V sums and factors fill nearly all
 * registers; a compiler left alone keeps some of them on the stack, and runs a quarter more instructions. */
INLINE void add_pixel(uint32_t *sums, uint32_t pixel, uint32_t first, uint32_t second)
{
#ifdef __riscv
    uint32_t product;

    __asm__ volatile("mul  %2, %3, %4\n\t"
                     "srli %2, %2, 16\n\t"
                     "add  %0, %0, %2\n\t"
                     "mul  %2, %3, %5\n\t"
                     "srli %2, %2, 16\n\t"
                     "add  %1, %1, %2"
                     : "+r"(sums[0]), "+r"(sums[1]), "=&r"(product)
                     : "r"(pixel), "r"(first), "r"(second));
#else
    sums[0] += (pixel * first) >> 16;
    sums[1] += (pixel * second) >> 16;
#endif
}

/* Makes the compiler forget what it has read through a pointer: a word of weights is read once for each half
 * rather than kept, since there is no register left to keep it in. */
INLINE void forget(const sel_word_t **pointer)
{
#ifdef __riscv
    __asm__ volatile("" : "+r"(*pointer));
#else
    (void)pointer;
#endif
}

INLINE void add_quad(uint32_t *sums, const sel_word_t *at, uint32_t stride, uint32_t first, uint32_t second)
{
    add_pixel(sums, at[0], first, second);
    add_pixel(sums + 2, at[2 * stride], first, second);
    add_pixel(sums + 4, at[4 * stride], first, second);
    add_pixel(sums + 6, at[6 * stride], first, second);
}

/* Adds one pixel of the kernel, half of the channels of a group. */
INLINE void add_half(uint32_t *sums, const sel_word_t **rows, const sel_word_t **quads, uint32_t stride,
                     uint32_t half)
{
    uint32_t first = (*rows[0] >> (8 * half)) & LANES;
    uint32_t second = (*rows[1] >> (8 * half)) & LANES;

    add_quad(sums, quads[0] + half, stride, first, second);
    add_quad(sums + 8, quads[1] + half, stride, first, second);
    forget(&rows[0]);
    forget(&rows[1]);
}

/* What the sums of a quad begin with. */
INLINE void start_quad(uint32_t *sums, const sel_word_t *surplus, uint32_t first, uint32_t second)
{
    sums[0] = first - surplus[0];
    sums[1] = second - surplus[0];
    sums[2] = first - surplus[1];
    sums[3] = second - surplus[1];
    sums[4] = first - surplus[2];
    sums[5] = second - surplus[2];
    sums[6] = first - surplus[3];
    sums[7] = second - surplus[3];
}

INLINE void copy_quad(uint32_t *to, const uint32_t *from)
{
    to[0] = from[0];
    to[1] = from[1];
    to[2] = from[2];
    to[3] = from[3];
    to[4] = from[4];
    to[5] = from[5];
    to[6] = from[6];
    to[7] = from[7];
}

/* The sums [2 quads][4 pixels][2 channels] of a block. x: the first pixel's, from the strip's left. */
INLINE void add_block(const strip_t *strip, uint32_t x, const sel_channel_t *channels, uint32_t *result,
                      uint32_t stride)
{
    const sel_word_t *rows[2], *quads[2];
    uint32_t sums[16];
    const sel_word_t *end;
    const uint32_t width = strip->layer->kernel_width, rest = 2 * (strip->columns - width);
    uint32_t first = sel_scale(channels[0].parameters).bias;
    uint32_t second = sel_scale(channels[1].parameters).bias;

    rows[0] = (const sel_word_t *)(const void *)channels[0].row;
    rows[1] = (const sel_word_t *)(const void *)channels[1].row;
    quads[0] = strip->packed + 2 * stride * x;
    quads[1] = quads[0] + strip->second_quad;
    end = quads[0] + strip->layer->kernel_height * strip->row_words;
    start_quad(sums, strip->surplus + x, first, second);
    start_quad(sums + 8, strip->surplus + x + strip->second_surplus, first, second);
    while (quads[0] != end) {
        const sel_word_t *behind = quads[0] + 2 * width;

        while (quads[0] != behind) {
            add_half(sums, rows, quads, stride, 0);
            add_half(sums, rows, quads, stride, 1);
            rows[0]++;
            rows[1]++;
            quads[0] += 2;
            quads[1] += 2;
        }
        quads[0] += rest;
        quads[1] += rest;
    }
    copy_quad(result, sums);
    copy_quad(result + 8, sums + 8);
}

static void add_block_by_1(const strip_t *strip, uint32_t x, const sel_channel_t *channels, uint32_t *sums)
{
    add_block(strip, x, channels, sums, 1);
}

static void add_block_by_2(const strip_t *strip, uint32_t x, const sel_channel_t *channels, uint32_t *sums)
{
    add_block(strip, x, channels, sums, 2);
}

static uint32_t at_most(uint32_t value, uint32_t most)
{
    return value < most ? value : most;
}

INLINE uint8_t scaled(const sel_layer_t *layer, uint32_t sum, sel_scale_t scale)
{
    int32_t value = sel_rescale((int32_t)sum, scale.multiplier, scale.shift) + layer->zero_out;

    return (uint8_t)sel_clamp(value, layer->least, layer->greatest);
}

/* Rescales the sums of a block and writes those of pixels that the output has. Where its channels are odd,
 * the last is written twice: to its own byte and to the next one, which means nothing.
 * to: the first pixel's. next: bytes from the first quad to the second. counts: pixels of each. */
static __attribute__((noinline)) void store(const sel_layer_t *layer, const sel_channel_t *pair,
                                            const uint32_t *sums, uint8_t *to, uint32_t next,
                                            const uint32_t *counts)
{
    sel_scale_t first = sel_scale(pair[0].parameters), second = sel_scale(pair[1].parameters);
    uint32_t stride = sel_stride(layer->out_channels);
    const sel_layer_t own = *layer; /* what is written through `to` might be the layer, says the language */
    uint32_t quad;

    for (quad = 0; quad < 2; quad++, to += next) {
        const uint32_t *sum = sums + 2 * QUAD * quad, *end = sum + 2 * counts[quad];
        uint8_t *pixel = to;

        for (; sum != end; sum += 2, pixel += stride) {
            pixel[0] = scaled(&own, sum[0], first);
            pixel[1] = scaled(&own, sum[1], second);
        }
    }
}

/* Two rows of a strip. first: its leftmost column; width: its pixels in a row of the output. */
static void convolve_rows(const strip_t *strip, const sel_channel_t *channels, uint32_t y, uint32_t first,
                          uint32_t width)
{
    const sel_layer_t *layer = strip->layer;
    uint32_t stride = sel_stride(layer->out_channels);
    uint32_t unit = strip->is_single ? 2 * QUAD : QUAD;
    uint32_t next = (strip->is_single ? QUAD : layer->out_width) * stride;
    uint32_t n, x, sums[16], counts[2];

    for (n = 0; n < layer->out_channels; n += 2) {
        uint8_t *to = strip->out + (y * layer->out_width + first) * stride + n;
        sel_channel_t pair[2];

        pair[0] = channels[n];
        pair[1] = channels[n + 1u < layer->out_channels ? n + 1 : n];
        for (x = 0; x < width; x += unit, to += unit * stride) {
            counts[0] = at_most(width - x, QUAD);
            counts[1] = y + 1u < layer->out_height ? counts[0] : 0;
            if (strip->is_single)
                counts[1] = at_most(width - x - counts[0], QUAD);
            strip->add_block(strip, x, pair, sums);
            store(layer, pair, sums, to, next, counts);
        }
    }
}

void sel_fast_convolve(const sel_layer_t *layer, const sel_channel_t *channels, uint8_t *arena,
                       uint8_t *scratch)
{
    strip_t strip;
    uint32_t first, y;

    lay_out(&strip, layer);
    strip.in = arena + layer->in;
    strip.out = arena + layer->out;
    strip.packed = (sel_word_t *)(void *)scratch;
    strip.sums = strip.packed + strip.rows * strip.row_words;
    strip.surplus = strip.sums + strip.rows * strip.columns;
    strip.add_block = strip.stride_right == 1 ? add_block_by_1 : add_block_by_2;
    for (first = 0; first < layer->out_width; first += STRIP)
        for (y = 0; y < layer->out_height; y += 2) {
            pack_rows(&strip, y, first);
            convolve_rows(&strip, channels, y, first, at_most(layer->out_width - first, STRIP));
        }
}
