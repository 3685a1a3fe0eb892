/* Counts instructions, and answers many inputs at once: the emulator runs it with -icount shift=0.
 *
 * qemu's loader device has put a request, an image and its inputs into RAM. What comes goes to the UART:
 *
 *     layer NUMBER OPERATION KERNEL_HEIGHT KERNEL_WIDTH MULTIPLY_ADDS FAST PLAIN     (instructions)
 *     inference FAST PLAIN                                                           (instructions)
 *     answer LABEL UNCERTAINTY EMBARRASSMENT LOGIT LOGIT ...
 *     end
 */
#include <stdio.h>
#include <string.h>

#include "sel_board.h"
#include "sel_net.h"

#define IMAGE ((const uint8_t *)0x81000000u)
#define IMAGE_BYTES (16u << 20)
#define INPUTS ((const uint8_t *)0x82000000u)
#define ARENA_BYTES (1u << 20)
#define TABLE_ENTRIES 16384u
#define MAX_LAYERS 256u

/* At 0x80F00000, beyond what a reset clears. */
typedef struct {
    uint32_t inputs; /* to answer with the kernels asked for; 0: count instructions on the first one */
    uint32_t kernels;
} request_t;
#define REQUEST ((const request_t *)0x80F00000u)

static char line[128];

static void put(const char *text)
{
    sel_uart_write((const uint8_t *)text, (uint32_t)strlen(text));
}

static uint32_t multiply_adds(const sel_layer_t *layer)
{
    uint32_t outputs = (uint32_t)layer->out_height * layer->out_width * layer->out_channels;
    uint32_t cells = (uint32_t)layer->kernel_height * layer->kernel_width;

    if (layer->operation != SEL_CONV && layer->operation != SEL_LINEAR) {
        return 0;
    }
    return outputs * cells * (layer->in_channels / layer->groups);
}

/* Instructions of each layer and, last, of a whole inference. */
static void count(sel_net_t *net, sel_kernels_t kernels, uint32_t *instructions)
{
    sel_answer_t answer;
    uint64_t before;

    net->kernels = kernels;
    sel_net_read(net, INPUTS);
    for (uint16_t i = 0; i < net->image->layers; i++) {
        before = sel_clock_cycles();
        sel_net_run(net, i);
        instructions[i] = (uint32_t)(sel_clock_cycles() - before);
    }
    before = sel_clock_cycles();
    sel_net_infer(net, INPUTS, &answer);
    instructions[net->image->layers] = (uint32_t)(sel_clock_cycles() - before);
}

static void tell_instructions(sel_net_t *net)
{
    static uint32_t fast[MAX_LAYERS + 1], plain[MAX_LAYERS + 1];
    uint16_t layers = net->image->layers;

    count(net, SEL_FAST, fast);
    count(net, SEL_PLAIN, plain);
    for (uint16_t i = 0; i < layers; i++) {
        const sel_layer_t *layer = sel_image_layer(net->image, i);

        (void)snprintf(line, sizeof line, "layer %u %u %u %u %lu %lu %lu\n", i, layer->operation,
                       layer->kernel_height, layer->kernel_width, (unsigned long)multiply_adds(layer),
                       (unsigned long)fast[i], (unsigned long)plain[i]);
        put(line);
    }
    (void)snprintf(line, sizeof line, "inference %lu %lu\n", (unsigned long)fast[layers],
                   (unsigned long)plain[layers]);
    put(line);
}

static void tell_answers(sel_net_t *net)
{
    uint32_t input_bytes = sel_net_input_bytes(net->image);
    sel_answer_t answer;

    net->kernels = REQUEST->kernels == SEL_PLAIN ? SEL_PLAIN : SEL_FAST;
    for (uint32_t i = 0; i < REQUEST->inputs; i++) {
        sel_net_infer(net, INPUTS + i * input_bytes, &answer);
        (void)snprintf(line, sizeof line, "answer %u %u %u", answer.label, answer.uncertainty,
                       answer.embarrassment);
        put(line);
        for (uint16_t k = 0; k < net->classes; k++) {
            (void)snprintf(line, sizeof line, " %d", answer.logits[k]);
            put(line);
        }
        put("\n");
    }
}

int main(void)
{
    static uint32_t arena[ARENA_BYTES / 4];
    static sel_channel_t table[TABLE_ENTRIES];
    sel_image_t image;
    sel_net_t net;
    uint32_t reason = 0;

    sel_uart_open();
    if (sel_image_open(&image, IMAGE, IMAGE_BYTES, &reason) != SEL_OK || image.arena_bytes > sizeof arena ||
        image.entries > TABLE_ENTRIES) {
        (void)snprintf(line, sizeof line, "refused %lu\n", (unsigned long)reason);
        put(line);
        sel_machine_end(1);
    }
    sel_net_reset(&net, &image, table, (uint8_t *)arena);
    if (REQUEST->inputs == 0) {
        tell_instructions(&net);
    } else {
        tell_answers(&net);
    }
    put("end\n");
    sel_machine_end(0);
}
