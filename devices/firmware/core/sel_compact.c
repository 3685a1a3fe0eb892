#include "sel_compact.h"

#include <string.h>

/* Where bytes go that are made piece by piece: into a hash, and through a page of RAM into flash from `at`
 * on. Without a flash they are measured only. */
typedef struct {
    const sel_flash_t *flash;
    uint32_t at;
    uint32_t bytes;
    int has_failed;
    sel_sha256_t hash;
    uint8_t page[SEL_PAGE_BYTES];
} sink_t;

static void sink_open(sink_t *sink, const sel_flash_t *flash, uint32_t at)
{
    sink->flash = flash;
    sink->at = at;
    sink->bytes = 0;
    sink->has_failed = 0;
    sel_sha256_begin(&sink->hash);
}

/* Programs what is in the page, which the sink's last byte so far belongs to. */
static void sink_flush(sink_t *sink)
{
    uint32_t in_page = (sink->bytes - 1) % SEL_PAGE_BYTES + 1;
    if (sink->flash != NULL && sink->bytes > 0 && !sink->has_failed) {
        sink->has_failed = sel_flash_put(sink->flash, sink->at + sink->bytes - in_page, sink->page, in_page);
    }
}

static void sink_add(sink_t *sink, const void *added, uint32_t bytes)
{
    const uint8_t *data = added;
    sel_sha256_add(&sink->hash, data, bytes);
    while (bytes > 0) {
        uint32_t filled = sink->bytes % SEL_PAGE_BYTES;
        uint32_t count = sel_least(bytes, SEL_PAGE_BYTES - filled);
        memcpy(sink->page + filled, data, count);
        sink->bytes += count;
        data += count;
        bytes -= count;
        if (filled + count == SEL_PAGE_BYTES) {
            sink_flush(sink);
        }
    }
}

/* What the network has of a channel that the image has not; 0 for nothing. */
static uint16_t change(const sel_net_t *net, const sel_layer_t *layer, uint32_t channel)
{
    const uint8_t *base = net->image->base;
    const sel_channel_t *now = net->table + layer->first_entry + channel;
    if (now->row == NULL) {
        return 0;
    }
    if (now->row != base + layer->rows_at + channel * layer->row_bytes) {
        return SEL_RUN_WHOLE;
    }
    return now->parameters != base + layer->parameters_at + channel * SEL_PARAMETER_BYTES ? SEL_RUN_SCALE : 0;
}

/* All runs of one kind in a layer. */
static void add_runs(sink_t *sink, const sel_net_t *net, uint16_t number, uint16_t kind)
{
    const sel_layer_t *layer = sel_image_layer(net->image, number);
    for (uint32_t first = 0, end; first < layer->out_channels; first = end) {
        sel_run_t run = {number, kind, (uint16_t)first, 0};
        for (end = first; end < layer->out_channels && change(net, layer, end) == kind; end++) {
            run.count++;
        }
        if (run.count == 0) {
            end++;
            continue;
        }
        sink_add(sink, &run, sizeof run);
        for (uint32_t channel = first; channel < end; channel++) {
            const sel_channel_t *now = net->table + layer->first_entry + channel;
            sink_add(sink, now->parameters, SEL_PARAMETER_BYTES);
            if (kind == SEL_RUN_WHOLE) {
                sink_add(sink, now->row, layer->row_bytes);
            }
        }
    }
}

/* The names, if they are not the image's own. */
static void add_classes(sink_t *sink, const sel_net_t *net)
{
    static const uint8_t zeros[4];
    sel_run_t run = {(uint16_t)(net->image->layers - 1), SEL_RUN_CLASSES, net->classes, 0};
    if (net->names == net->image->base + net->image->names_at) {
        return;
    }
    for (uint16_t i = 0; i < net->classes; i++) {
        run.count = (uint16_t)(run.count + 1 + net->names[run.count]);
    }
    sink_add(sink, &run, sizeof run);
    sink_add(sink, &net->inverse, sizeof net->inverse);
    sink_add(sink, net->names, run.count);
    sink_add(sink, zeros, -(uint32_t)run.count % 4);
}

/* A snapshot's payload: all that the network in `net` has and the image has not. */
static void add_snapshot(sink_t *sink, const sel_net_t *net)
{
    for (uint16_t number = 0; number < net->image->layers; number++) {
        if (sel_layer_has_weights(sel_image_layer(net->image, number))) {
            add_runs(sink, net, number, SEL_RUN_SCALE);
            add_runs(sink, net, number, SEL_RUN_WHOLE);
        }
    }
    add_classes(sink, net);
}

void sel_overlay_build(sel_overlay_t *overlay, uint16_t count)
{
    sel_net_t *net = overlay->net;
    sel_kernels_t kernels = net->kernels;
    sel_net_reset(net, net->image, net->table, net->arena);
    net->kernels = kernels;
    for (uint16_t place = 0; place < count; place++) {
        const sel_manifest_t *segment = overlay->stack[place];
        sel_net_apply(net, sel_segment_payload(segment), segment->bytes);
    }
}

/* What becomes of the stack: its lowest `merged` segments one snapshot, and its top as it is if that is not
 * one of them. */
typedef struct {
    uint16_t merged;
    sel_manifest_t snapshot;
    const sel_manifest_t *top;
    uint32_t bytes; /* of both in an area */
} plan_t;

static void make_plan(plan_t *plan, sel_overlay_t *overlay, uint16_t merged)
{
    plan->merged = merged;
    plan->top = merged < overlay->depth ? overlay->stack[merged] : NULL;
    plan->bytes = plan->top != NULL ? sel_segment_bytes(plan->top) : 0;
    if (merged > 0) {
        sel_manifest_t *snapshot = &plan->snapshot;
        sink_t sink;
        sel_overlay_build(overlay, merged);
        sink_open(&sink, NULL, 0);
        add_snapshot(&sink, overlay->net);
        *snapshot = *overlay->stack[merged - 1];
        snapshot->kind = SEL_SNAPSHOT;
        snapshot->bytes = sink.bytes;
        memcpy(snapshot->before, sel_image_hash(overlay->net->image), SEL_HASH_BYTES);
        sel_sha256_end(&sink.hash, snapshot->payload_hash);
        sel_manifest_seal(snapshot);
        plan->bytes += sel_segment_bytes(snapshot);
    }
}

/* Writes one segment: a snapshot of `net`, or without it a copy of the segment. */
static int put_segment(const sel_flash_t *flash, uint32_t at, const sel_manifest_t *segment,
                       const sel_net_t *net)
{
    sel_manifest_t header = *segment;
    sink_t sink;
    sink_open(&sink, flash, at + SEL_PAGE_BYTES);
    sink.has_failed = sel_flash_put(flash, at, &header, sizeof header);
    if (net != NULL) {
        add_snapshot(&sink, net);
    } else {
        sink_add(&sink, sel_segment_payload(segment), segment->bytes);
    }
    sink_flush(&sink);
    return sink.has_failed || sel_segment_commit(flash, sel_segment_at(flash, at)) != 0;
}

/* Fills the other area and changes over to it: its header comes last. */
static sel_status_t change_over(sel_overlay_t *overlay, const plan_t *plan)
{
    const sel_flash_t *flash = overlay->areas[overlay->target];
    const sel_manifest_t *stack[2];
    uint16_t depth = 0;
    uint32_t at = SEL_SEGMENTS_AT;
    sel_area_t area = {SEL_AREA_MARK, SEL_RECORD_VERSION, overlay->sequence + 1, 0, overlay->counter, {0}, 0};
    int has_failed = sel_flash_clear(flash, flash->bytes);
    if (plan->merged > 0 && !has_failed) {
        sel_overlay_build(overlay, plan->merged);
        has_failed = put_segment(flash, at, &plan->snapshot, overlay->net);
        stack[depth++] = sel_segment_at(flash, at);
        at += sel_segment_bytes(&plan->snapshot);
    }
    if (plan->top != NULL && !has_failed) {
        has_failed = put_segment(flash, at, plan->top, NULL);
        stack[depth++] = sel_segment_at(flash, at);
    }
    area.erases = ++overlay->erases[overlay->target];
    memcpy(area.image_hash, sel_image_hash(overlay->net->image), SEL_HASH_BYTES);
    if (has_failed || sel_record_put(flash, 0, &area, sizeof area) != 0) {
        return SEL_FLASH_FAULT;
    }
    memcpy(overlay->stack, stack, depth * sizeof stack[0]);
    overlay->depth = depth;
    overlay->area = overlay->target;
    overlay->target = (uint8_t)(1 - overlay->area);
    overlay->sequence = area.sequence;
    overlay->end = SEL_SEGMENTS_AT + plan->bytes;
    overlay->pending = NULL;
    overlay->is_damaged = 0;
    overlay->newest = depth > 0 ? stack[depth - 1] : NULL;
    return SEL_OK;
}

sel_status_t sel_overlay_compact(sel_overlay_t *overlay, uint32_t needed, int may_merge_all,
                                 uint32_t *available)
{
    uint32_t room = overlay->areas[overlay->target]->bytes - SEL_SEGMENTS_AT;
    sel_status_t status = SEL_FULL;
    plan_t plan;
    make_plan(&plan, overlay, overlay->depth > 1 ? (uint16_t)(overlay->depth - 1) : 0);
    if (may_merge_all && (plan.bytes > room || room - plan.bytes < needed)) {
        make_plan(&plan, overlay, overlay->depth);
    }
    *available = plan.bytes < room ? room - plan.bytes : 0;
    if (*available >= needed) {
        status = change_over(overlay, &plan);
    }
    sel_overlay_build(overlay, overlay->depth);
    return status;
}
