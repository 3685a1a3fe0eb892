/* What tests ask of images and networks: as a library for one question, as a program for a file of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sel_bytes.h"
#include "sel_net.h"

#define MOST_ARENA (1u << 20)
#define MOST_PRODUCTS 20000000.0

typedef struct {
    uint32_t image_reason, payload_reason;
    uint16_t label, uncertainty, embarrassment, classes;
} probe_answer_t;

uint32_t probe_open(const uint8_t *image, uint32_t bytes, uint32_t *hash_is_right);
uint32_t probe_infer(const uint8_t *bytes, uint32_t count, const uint8_t *payload, uint32_t payload_bytes,
                     const uint8_t *input, int kernels, uint8_t filling, uint8_t *arena, int16_t *logits,
                     probe_answer_t *found);

/* A copy that ends where it ends, so that a sanitizer sees what is read beyond. */
static uint8_t *copy(const uint8_t *bytes, uint32_t count)
{
    uint8_t *to = malloc(count ? count : 1);

    if (!to)
        abort();
    if (count)
        memcpy(to, bytes, count);
    return to;
}

uint32_t probe_open(const uint8_t *bytes, uint32_t count, uint32_t *hash_is_right)
{
    uint8_t *own = copy(bytes, count);
    uint32_t reason;
    sel_image_t image;

    *hash_is_right = 0;
    if (sel_image_open(&image, own, count, &reason) == SEL_OK)
        *hash_is_right = (uint32_t)sel_image_hash_is_right(&image);
    free(own);
    return reason;
}

/* Opens, applies the payload, answers for one input with an arena full of `filling`, and copies
 * the arena and logits. Returns 1 if there is an answer. */
uint32_t probe_infer(const uint8_t *bytes, uint32_t count, const uint8_t *payload, uint32_t payload_bytes,
                     const uint8_t *input, int kernels, uint8_t filling, uint8_t *arena, int16_t *logits,
                     probe_answer_t *found)
{
    uint8_t *own = copy(bytes, count), *change = copy(payload, payload_bytes), *room = 0;
    sel_channel_t *table = 0;
    sel_image_t image;
    sel_net_t net;
    sel_answer_t answer;
    uint32_t answered = 0;

    memset(found, 0, sizeof *found);
    if (sel_image_open(&image, own, count, &found->image_reason) != SEL_OK)
        goto done;
    room = malloc(image.arena_bytes ? image.arena_bytes : 1);
    table = malloc(image.entries * sizeof *table);
    if (!room || !table)
        abort();
    memset(room, filling, image.arena_bytes);
    sel_net_reset(&net, &image, table, room);
    net.kernels = (sel_kernels_t)kernels;
    if (sel_net_check(&net, change, payload_bytes, &found->payload_reason) != SEL_OK)
        goto done;
    sel_net_apply(&net, change, payload_bytes);
    sel_net_infer(&net, input, &answer);
    memcpy(arena, room, image.arena_bytes);
    memcpy(logits, answer.logits, net.classes * sizeof *logits);
    found->label = answer.label;
    found->uncertainty = answer.uncertainty;
    found->embarrassment = answer.embarrassment;
    found->classes = net.classes;
    answered = 1;
done:
    free(own);
    free(change);
    free(room);
    free(table);
    return answered;
}

/* Multiplications of one inference at most; a double, since an image may promise more than fits a number. */
static double products(const sel_image_t *image)
{
    double sum = 0;
    uint16_t i;

    for (i = 0; i < image->layers; i++) {
        const sel_layer_t *layer = sel_image_layer(image, i);

        sum += (double)layer->out_channels * layer->out_height * layer->out_width *
               (layer->row_bytes + (double)layer->kernel_height * layer->kernel_width + 1);
    }
    return sum;
}

static void answer_for(const uint8_t *bytes, uint32_t count, const uint8_t *payload, uint32_t payload_bytes)
{
    uint8_t *own = copy(bytes, count), *input, *arena;
    int16_t fast[SEL_MAX_CLASSES] = {0}, plain[SEL_MAX_CLASSES] = {0};
    probe_answer_t found;
    sel_image_t image;
    uint32_t i, reason;

    if (sel_image_open(&image, own, count, &reason) != SEL_OK) {
        printf("image %u\n", reason);
    } else if (image.arena_bytes > MOST_ARENA || products(&image) > MOST_PRODUCTS) {
        printf("large\n");
    } else {
        input = malloc(sel_net_input_bytes(&image));
        arena = malloc(image.arena_bytes);
        for (i = 0; i < sel_net_input_bytes(&image); i++)
            input[i] = (uint8_t)(i * 37);
        if (!probe_infer(bytes, count, payload, payload_bytes, input, SEL_FAST, 0xA5, arena, fast, &found)) {
            printf("payload %u\n", found.payload_reason);
        } else {
            probe_infer(bytes, count, payload, payload_bytes, input, SEL_PLAIN, 0x3C, arena, plain, &found);
            printf(memcmp(fast, plain, sizeof fast) ? "kernels differ\n" : "answer\n");
        }
        free(input);
        free(arena);
    }
    free(own);
}

/* Reads pairs from a file, each u32 bytes of the image and of the payload, and both; a line for each. */
int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : 0;
    uint8_t sizes[8];

    if (!file)
        return 2;
    while (fread(sizes, 1, sizeof sizes, file) == sizeof sizes) {
        uint32_t bytes = sel_get32(sizes), payload_bytes = sel_get32(sizes + 4);
        uint8_t *both = malloc((size_t)bytes + payload_bytes + 1);

        if (!both || fread(both, 1, (size_t)bytes + payload_bytes, file) != (size_t)bytes + payload_bytes)
            return 2;
        answer_for(both, bytes, both + bytes, payload_bytes);
        free(both);
    }
    return 0;
}
