#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sel_crc.h"

#define SECTOR_BYTES 4096u
#define MOST_MACS 1000000u

static void end_with(const char *kind, const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", kind, what);
    abort();
}

void sel_fuzz_require(int holds, const char *what)
{
    if (!holds) {
        end_with("fuzz broken", what);
    }
}

void sel_fuzz_refused(int holds, const char *what)
{
    if (!holds) {
        end_with("fuzz accepted", what);
    }
}

uint8_t *sel_fuzz_copy(const uint8_t *bytes, size_t count)
{
    uint8_t *copy = malloc(count > 0 ? count : 1);
    sel_fuzz_require(copy != NULL, "no memory");
    if (count > 0) {
        memcpy(copy, bytes, count);
    }
    return copy;
}

static int erase(void *context, uint32_t offset)
{
    memset((uint8_t *)context + offset, 0xFF, SECTOR_BYTES);
    return 0;
}

static int program(void *context, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    uint8_t *memory = context;
    for (uint32_t i = 0; i < bytes; i++) {
        memory[offset + i] &= data[i];
    }
    return 0;
}

void sel_fuzz_flash(sel_flash_t *flash, uint8_t *memory, uint32_t bytes)
{
    memset(memory, 0xFF, bytes);
    flash->map = memory;
    flash->bytes = bytes;
    flash->erase_bytes = SECTOR_BYTES;
    flash->context = memory;
    flash->erase = erase;
    flash->program = program;
}

void sel_fuzz_net(sel_net_t *net, const sel_image_t *image)
{
    uint8_t *arena = malloc(image->arena_bytes > 0 ? image->arena_bytes : 1);
    sel_channel_t *table = malloc((image->entries + 1u) * sizeof *table);
    sel_fuzz_require(arena != NULL && table != NULL, "no memory");
    memset(arena, 0, image->arena_bytes);
    sel_net_reset(net, image, table, arena);
}

void sel_fuzz_free(sel_net_t *net)
{
    free(net->arena);
    free(net->table);
}

uint32_t sel_fuzz_content(const sel_net_t *net)
{
    const uint8_t *name = net->names;
    uint32_t crc = sel_crc32(0, (const uint8_t *)&net->inverse, sizeof net->inverse);
    for (uint16_t i = 0; i < net->classes; i++, name += 1 + name[0]) {
        crc = sel_crc32(crc, name, 1u + name[0]);
    }
    for (uint16_t i = 0; i < net->image->layers; i++) {
        const sel_layer_t *layer = sel_image_layer(net->image, i);
        const sel_channel_t *channel = net->table + layer->first_entry;
        for (uint16_t k = 0; k < layer->out_channels && layer->row_bytes > 0; k++, channel++) {
            if (channel->row != NULL) {
                crc = sel_crc32(crc, channel->row, layer->row_bytes);
                crc = sel_crc32(crc, channel->parameters, SEL_PARAMETER_BYTES);
            }
        }
    }
    return crc;
}

static int is_quick(const sel_image_t *image)
{
    uint64_t macs = 0;
    for (uint16_t i = 0; i < image->layers; i++) {
        const sel_layer_t *layer = sel_image_layer(image, i);
        uint64_t cells = (uint64_t)layer->out_channels * layer->out_height * layer->out_width;
        uint64_t each = (uint64_t)layer->row_bytes + (uint64_t)layer->kernel_height * layer->kernel_width + 1;
        macs += cells * each + (uint64_t)layer->in_channels * layer->in_height * layer->in_width;
    }
    return macs < MOST_MACS;
}

void sel_fuzz_infer(sel_net_t *net)
{
    static int16_t logits[SEL_MAX_CLASSES];
    sel_answer_t fast, plain;
    uint32_t bytes = sel_net_input_bytes(net->image);
    uint8_t *input;
    if (!is_quick(net->image)) {
        return;
    }
    input = malloc(bytes > 0 ? bytes : 1);
    sel_fuzz_require(input != NULL, "no memory");
    for (uint32_t i = 0; i < bytes; i++) {
        input[i] = (uint8_t)(i * 37u + i / 256u);
    }
    net->kernels = SEL_FAST;
    sel_net_infer(net, input, &fast);
    memcpy(logits, fast.logits, net->classes * sizeof *logits);
    net->kernels = SEL_PLAIN;
    sel_net_infer(net, input, &plain);
    sel_fuzz_require(memcmp(logits, plain.logits, net->classes * sizeof *logits) == 0, "kernels differ");
    sel_fuzz_require(fast.label == plain.label && fast.embarrassment == plain.embarrassment,
                     "answers differ");
    free(input);
}
