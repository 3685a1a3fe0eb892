#define _POSIX_C_SOURCE 200809L

#include "sel_rig.h"

#include <stdlib.h>
#include <string.h>

#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_store.h"

#define ALIGNMENT 16u

static void *aligned(uint32_t bytes)
{
    void *memory = NULL;
    return posix_memalign(&memory, ALIGNMENT, bytes + ALIGNMENT) == 0 ? memory : NULL;
}

static int open_flash(sel_rig_t *rig, uint32_t area_bytes, uint32_t partition_bytes)
{
    sel_flash_sim_t **all[3] = {&rig->areas[0], &rig->areas[1], &rig->partition};
    for (int i = 0; i < 3; i++) {
        *all[i] = sel_flash_sim_new(i < 2 ? area_bytes : partition_bytes, NULL, 0);
        if (*all[i] == NULL) {
            return 0;
        }
        sel_flash_sim_supply(*all[i], &rig->power);
    }
    return 1;
}

/* Returns 0 if it cannot be opened. */
static int open_image(sel_rig_t *rig, const uint8_t *image, uint32_t bytes)
{
    uint32_t reason;
    rig->image_bytes = aligned(bytes);
    if (rig->image_bytes == NULL) {
        return 0;
    }
    memcpy(rig->image_bytes, image, bytes);
    if (sel_image_open(&rig->image, rig->image_bytes, bytes, &reason) != SEL_OK) {
        return 0;
    }
    rig->table = calloc(rig->image.entries, sizeof *rig->table);
    rig->arena = aligned(rig->image.arena_bytes);
    return rig->table != NULL && rig->arena != NULL;
}

sel_rig_t *sel_rig_new(const uint8_t *image, uint32_t image_bytes, uint32_t area_bytes,
                       uint32_t partition_bytes)
{
    sel_rig_t *rig = calloc(1, sizeof *rig);
    if (rig == NULL) {
        return NULL;
    }
    if (!open_image(rig, image, image_bytes) || !open_flash(rig, area_bytes, partition_bytes)) {
        sel_rig_free(rig);
        return NULL;
    }
    sel_rig_start(rig);
    return rig;
}

void sel_rig_free(sel_rig_t *rig)
{
    sel_flash_sim_t *all[3] = {rig->areas[0], rig->areas[1], rig->partition};
    for (int i = 0; i < 3; i++) {
        if (all[i] != NULL) {
            sel_flash_sim_free(all[i]);
        }
    }
    free(rig->image_bytes);
    free(rig->table);
    free(rig->arena);
    free(rig);
}

void sel_rig_copy(sel_rig_t *rig, const sel_rig_t *from)
{
    sel_flash_sim_copy(rig->areas[0], from->areas[0]);
    sel_flash_sim_copy(rig->areas[1], from->areas[1]);
    sel_flash_sim_copy(rig->partition, from->partition);
}

void sel_rig_start(sel_rig_t *rig)
{
    sel_rig_cut(rig, 0, 0, 0, 0);
    rig->power.is_off = 0;
    sel_net_reset(&rig->net, &rig->image, rig->table, rig->arena);
    sel_overlay_open(&rig->overlay, sel_flash_sim_port(rig->areas[0]), sel_flash_sim_port(rig->areas[1]),
                     &rig->net);
}

void sel_rig_cut(sel_rig_t *rig, uint32_t at, uint32_t share, uint32_t scatters, uint32_t seed)
{
    rig->power.cut_at = at == 0 ? 0 : rig->power.operations + at;
    rig->power.share = share;
    rig->power.scatters = scatters;
    rig->power.seed = seed;
}

static uint32_t chunk_bytes(uint32_t all, uint32_t at)
{
    return all - at < SEL_CHUNK_BYTES ? all - at : SEL_CHUNK_BYTES;
}

static sel_status_t push(sel_rig_t *rig, const sel_step_t *step)
{
    uint32_t all = step->manifest->bytes, needed, available, reason;
    sel_place_t place;
    sel_status_t status;
    if (sel_overlay_is_newest(&rig->overlay, step->manifest)) {
        return SEL_OK;
    }
    status = sel_overlay_begin(&rig->overlay, step->manifest, &needed, &available);
    sel_overlay_place(&rig->overlay, &place);
    for (uint32_t at = 0; status == SEL_OK && at < step->bytes; at += SEL_CHUNK_BYTES) {
        const uint8_t *data = step->content + at;
        uint32_t bytes = chunk_bytes(all, at);
        if (sel_place_chunk(&place, at / SEL_CHUNK_BYTES) != sel_crc32(0, data, bytes)) {
            status = sel_overlay_write(&rig->overlay, at, data, bytes);
        }
    }
    if (status == SEL_OK && step->action == SEL_PUSH) {
        status = sel_overlay_commit(&rig->overlay, step->manifest, &reason);
    }
    return status;
}

static sel_status_t install(sel_rig_t *rig, const sel_step_t *step)
{
    const sel_flash_t *flash = sel_flash_sim_port(rig->partition);
    const uint8_t *hash = step->content + 16; /* an image says its own */
    uint32_t needed, available, reason;
    sel_status_t status = sel_store_begin(flash, step->bytes, hash, &needed, &available);
    sel_place_t place;
    sel_store_place(flash, &place);
    for (uint32_t at = 0; status == SEL_OK && at < step->bytes; at += SEL_CHUNK_BYTES) {
        const uint8_t *data = step->content + at;
        uint32_t bytes = chunk_bytes(step->bytes, at);
        if (sel_place_chunk(&place, at / SEL_CHUNK_BYTES) != sel_crc32(0, data, bytes)) {
            status = sel_store_write(flash, at, data, bytes);
        }
    }
    return status == SEL_OK ? sel_store_commit(flash, hash, &reason) : status;
}

int sel_rig_step(sel_rig_t *rig, const sel_step_t *step)
{
    switch (step->action) {
    case SEL_GO_BACK:
        return (int)sel_overlay_rollback(&rig->overlay, step->manifest);
    case SEL_INSTALL:
        return (int)install(rig, step);
    default:
        return (int)push(rig, step);
    }
}

sel_overlay_t *sel_rig_overlay(sel_rig_t *rig)
{
    return &rig->overlay;
}

void sel_rig_state(const sel_rig_t *rig, sel_rig_state_t *state)
{
    const sel_overlay_t *overlay = &rig->overlay;
    state->counter = overlay->counter;
    state->area = overlay->area;
    state->depth = overlay->depth;
    state->end = overlay->end;
    state->pending = overlay->pending == NULL
                         ? 0
                         : (uint32_t)((const uint8_t *)overlay->pending - overlay->areas[overlay->area]->map);
    state->sequence = overlay->sequence;
    state->erases = overlay->erases[0] + overlay->erases[1];
    state->is_damaged = overlay->is_damaged;
    memcpy(state->hash, overlay->hash, sizeof state->hash);
}

const uint8_t *sel_rig_area(const sel_rig_t *rig, uint32_t number)
{
    return sel_flash_sim_port(rig->areas[number])->map;
}

uint32_t sel_rig_erases(const sel_rig_t *rig, uint32_t area)
{
    return sel_flash_sim_erases(rig->areas[area], 0);
}

uint64_t sel_rig_violations(const sel_rig_t *rig)
{
    return rig->power.violations;
}

uint64_t sel_rig_operations(const sel_rig_t *rig)
{
    return rig->power.operations;
}

/* Bytes that were or would be written, and how many there is room for. */
typedef struct {
    uint8_t *out;
    uint32_t room, bytes;
} writer_t;

static void add(writer_t *writer, const uint8_t *from, uint32_t bytes)
{
    if (writer->bytes + bytes <= writer->room) {
        memset(writer->out + writer->bytes, 0, bytes);
        if (from != NULL) {
            memcpy(writer->out + writer->bytes, from, bytes);
        }
    }
    writer->bytes += bytes;
}

uint32_t sel_rig_content(const sel_rig_t *rig, uint8_t *out, uint32_t room)
{
    const sel_net_t *net = &rig->net;
    writer_t writer = {out, room, 0};
    uint8_t number[4];
    for (uint16_t i = 0; i < net->image->layers; i++) {
        const sel_layer_t *layer = sel_image_layer(net->image, i);
        for (uint16_t channel = 0; sel_layer_has_weights(layer) && channel < layer->out_channels; channel++) {
            const sel_channel_t *entry = net->table + layer->first_entry + channel;
            add(&writer, entry->parameters, SEL_PARAMETER_BYTES);
            add(&writer, entry->row, layer->row_bytes);
        }
    }
    sel_put16(number, net->classes);
    add(&writer, number, 2);
    sel_put32(number, net->inverse);
    add(&writer, number, 4);
    for (uint32_t i = 0, at = 0; i < net->classes; i++) {
        uint32_t bytes = 1u + net->names[at];
        add(&writer, net->names + at, bytes);
        at += bytes;
    }
    return writer.bytes;
}

const int16_t *sel_rig_infer(const sel_rig_t *rig, const uint8_t *input)
{
    sel_answer_t answer;
    sel_net_infer(&rig->net, input, &answer);
    return answer.logits;
}

void sel_rig_answer(sel_rig_t *rig, int kernels, const uint8_t *input, uint16_t numbers[3], int16_t *logits)
{
    sel_answer_t answer;
    rig->net.kernels = (sel_kernels_t)kernels;
    sel_net_infer(&rig->net, input, &answer);
    numbers[0] = answer.label;
    numbers[1] = answer.uncertainty;
    numbers[2] = answer.embarrassment;
    memcpy(logits, answer.logits, rig->net.classes * sizeof *logits);
}
