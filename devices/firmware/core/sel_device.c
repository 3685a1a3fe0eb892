#include "sel_device.h"

#include "sel_messages.h"
#include "sel_store.h"

#define SMALLEST_LOG 1024u
#define QUEUED_FRAMES 4u
#define INFER_HEADER_BYTES 4u /* operation, 0, flags, 0 */
#define SAMPLE_HEADER_BYTES 26u
#define MOST_INPUT_BYTES (SEL_MOST_FRAGMENTS * SEL_FRAGMENT_BYTES - SAMPLE_HEADER_BYTES)

static uint32_t longest_message(const sel_image_t *image)
{
    uint32_t infer = INFER_HEADER_BYTES + sel_net_input_bytes(image);
    return infer > SEL_LEAST_MESSAGE_BYTES ? infer : SEL_LEAST_MESSAGE_BYTES;
}

void sel_device_sizes(const sel_flash_t *image_partition, sel_memory_t *sizes)
{
    sel_image_t image;
    uint32_t reason;
    memset(sizes, 0, sizeof *sizes);
    sizes->message_bytes = SEL_LEAST_MESSAGE_BYTES;
    sizes->log_bytes = SMALLEST_LOG;
    if (sel_store_open(image_partition, &image, &reason) == SEL_OK) {
        sizes->arena_bytes = image.arena_bytes;
        sizes->table_entries = image.entries;
        sizes->message_bytes = longest_message(&image);
        sizes->samples_bytes = QUEUED_FRAMES * (SEL_SAMPLE_HEADER_BYTES + sel_net_input_bytes(&image));
    }
}

sel_status_t sel_fits_memory(const sel_device_t *device, const sel_image_t *image, uint32_t *reason)
{
    const sel_memory_t *memory = &device->board->memory;
    *reason = image->arena_bytes > memory->arena_bytes         ? SEL_REASON_ARENA
              : image->entries > memory->table_entries         ? SEL_REASON_TABLE
              : longest_message(image) > memory->message_bytes ? SEL_REASON_MESSAGE
              : sel_net_input_bytes(image) > MOST_INPUT_BYTES  ? SEL_REASON_MESSAGE
                                                               : 0;
    return *reason == 0 ? SEL_OK : SEL_IMAGE_REFUSED;
}

void sel_renew_nonce(sel_device_t *device)
{
    const sel_port_t *port = device->board->port;
    port->random(port->context, device->nonce, SEL_NONCE_BYTES);
    device->begun = 0;
}

void sel_start_network(sel_device_t *device)
{
    const sel_board_t *board = device->board;
    uint32_t reason = 0;
    sel_status_t status = sel_store_open(board->image, &device->image, &reason);
    device->faults &= (uint16_t)~(SEL_FAULT_NO_IMAGE | SEL_FAULT_IMAGE);
    device->transfer = SEL_NO_DATA;
    if (status == SEL_OK) {
        status = sel_fits_memory(device, &device->image, &reason);
    }
    device->has_image = status == SEL_OK;
    if (device->has_image) {
        sel_net_reset(&device->net, &device->image, board->memory.table, board->memory.arena);
        sel_overlay_open(&device->overlay, board->areas[0], board->areas[1], &device->net);
        sel_log_number(&device->log, "network in use, overlay depth ", device->overlay.depth);
    } else {
        device->faults |= (uint16_t)(SEL_FAULT_NO_IMAGE | (status == SEL_NO_IMAGE ? 0u : SEL_FAULT_IMAGE));
        sel_log_number(&device->log, "no network, reason ", reason);
    }
}

void sel_device_open(sel_device_t *device, const sel_board_t *board)
{
    const sel_port_t *port = board->port;
    const sel_memory_t *memory = &board->memory;
    uint32_t start;
    memset(device, 0, sizeof *device);
    device->board = board;
    port->random(port->context, (uint8_t *)&start, sizeof start);
    sel_renew_nonce(device);
    sel_log_reset(&device->log, memory->log, memory->log_bytes);
    sel_samples_reset(&device->samples, memory->samples, memory->samples_bytes, start);
    sel_decoder_reset(&device->decoder, SEL_REQUEST, memory->message, memory->message_bytes);
    sel_start_network(device);
}

void sel_observed(sel_device_t *device, const uint8_t *input, const sel_answer_t *answer)
{
    const sel_port_t *port = device->board->port;
    int features = device->samples.form == SEL_SAMPLE_FEATURES && answer->features != NULL;
    device->frames++;
    if (sel_samples_wants(&device->samples, answer->embarrassment, port->uptime_ms(port->context))) {
        sel_sample_t sample = {0};
        sample.frame = device->frames;
        sample.time_ms = port->time_ms(port->context);
        sample.label = answer->label;
        sample.embarrassment = answer->embarrassment;
        sample.form = features ? SEL_SAMPLE_FEATURES : SEL_SAMPLE_FRAME;
        sample.bytes = features ? device->image.features : sel_net_input_bytes(&device->image);
        sel_samples_put(&device->samples, &sample, features ? answer->features : input);
    }
}

sel_status_t sel_device_observe(sel_device_t *device, const uint8_t *input, sel_answer_t *answer)
{
    if (!device->has_image) {
        return SEL_NO_IMAGE;
    }
    sel_net_infer(&device->net, input, answer);
    sel_observed(device, input, answer);
    return SEL_OK;
}

void sel_device_receive(sel_device_t *device, const uint8_t *bytes, uint32_t count)
{
    while (count > 0) {
        uint32_t used = sel_decoder_take(&device->decoder, bytes, count);
        bytes += used;
        count -= used;
        if (device->decoder.has_message) {
            sel_handle(device);
        }
    }
}
