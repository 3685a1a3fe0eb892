#include "sel_compact.h"

#include <string.h>

#include "sel_area.h"
#include "sel_bytes.h"
#include "sel_sha256.h"

#define RUN_BYTES 8u

typedef enum { UNCHANGED = 0, SCALE = 1, WHOLE = 2, CLASSES = 3 } run_kind_t;

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

static void sink_add(sink_t *sink, const uint8_t *data, uint32_t bytes)
{
    sel_sha256_add(&sink->hash, data, bytes);
    while (bytes > 0) {
        uint32_t filled = sink->bytes % SEL_PAGE_BYTES;
        uint32_t count = bytes < SEL_PAGE_BYTES - filled ? bytes : SEL_PAGE_BYTES - filled;
        memcpy(sink->page + filled, data, count);
        sink->bytes += count;
        data += count;
        bytes -= count;
        if (filled + count == SEL_PAGE_BYTES) {
            sink_flush(sink);
        }
    }
}

/* What the network has of a channel that the image has not. */
static run_kind_t change(const sel_net_t *net, const sel_layer_t *layer, uint16_t channel)
{
    const sel_image_t *image = net->image;
    const sel_channel_t *now = net->table + layer->first_entry + channel;
    const uint8_t *row = image->base + layer->rows_at + channel * layer->row_bytes;
    if (now->row == NULL) {
        return UNCHANGED;
    }
    if (now->row != row) {
        return WHOLE;
    }
    return now->parameters != image->base + layer->parameters_at + channel * SEL_PARAMETER_BYTES ? SCALE
                                                                                                  : UNCHANGED;
}

static void add_run_header(sink_t *sink, uint16_t layer, run_kind_t kind, uint16_t first, uint16_t count)
{
    uint8_t header[RUN_BYTES];
    sel_put16(header, layer);
    sel_put16(header + 2, (uint16_t)kind);
    sel_put16(header + 4, first);
    sel_put16(header + 6, count);
    sink_add(sink, header, sizeof header);
}

/* All runs of one kind in a layer. */
static void add_runs(sink_t *sink, const sel_net_t *net, uint16_t number, const sel_layer_t *layer,
                     run_kind_t kind)
{
    for (uint16_t first = 0, end; first < layer->out_channels; first = end) {
        end = (uint16_t)(first + 1);
        if (change(net, layer, first) != kind) {
            continue;
        }
        while (end < layer->out_channels && change(net, layer, end) == kind) {
            end++;
        }
        add_run_header(sink, number, kind, first, (uint16_t)(end - first));
        for (uint16_t channel = first; channel < end; channel++) {
            const sel_channel_t *now = net->table + layer->first_entry + channel;
            sink_add(sink, now->parameters, SEL_PARAMETER_BYTES);
            if (kind == WHOLE) {
                sink_add(sink, now->row, layer->row_bytes);
            }
        }
    }
}

/* The names, if they are not the image's own. */
static void add_classes(sink_t *sink, const sel_net_t *net)
{
    static const uint8_t zeros[4];
    uint8_t inverse[4];
    uint16_t bytes = 0;
    if (net->names == net->image->base + net->image->names_at) {
        return;
    }
    for (uint16_t i = 0; i < net->classes; i++) {
        bytes = (uint16_t)(bytes + 1 + net->names[bytes]);
    }
    add_run_header(sink, (uint16_t)(net->image->layers - 1), CLASSES, net->classes, bytes);
    sel_put32(inverse, net->inverse);
    sink_add(sink, inverse, sizeof inverse);
    sink_add(sink, net->names, bytes);
    sink_add(sink, zeros, -(uint32_t)bytes % 4);
}

/* A snapshot's payload: all that the network in `net` has and the image has not. */
static void add_snapshot(sink_t *sink, const sel_net_t *net)
{
    for (uint16_t number = 0; number < net->image->layers; number++) {
        sel_layer_t layer;
        sel_image_layer(net->image, number, &layer);
        if (sel_layer_has_weights(&layer)) {
            add_runs(sink, net, number, &layer, SCALE);
            add_runs(sink, net, number, &layer, WHOLE);
        }
    }
    add_classes(sink, net);
    sink_flush(sink);
}

static const uint8_t *segment(const sel_overlay_t *overlay, uint16_t place)
{
    return overlay->areas[overlay->area]->map + overlay->stack[place];
}

void sel_overlay_build(sel_overlay_t *overlay, uint16_t count)
{
    sel_net_t *net = overlay->net;
    sel_kernels_t kernels = net->kernels;
    sel_net_reset(net, net->image, net->table, net->arena);
    net->kernels = kernels;
    for (uint16_t place = 0; place < count; place++) {
        const uint8_t *manifest = segment(overlay, place);
        sel_net_apply(net, manifest + SEL_PAGE_BYTES, sel_get32(manifest + SEL_MANIFEST_PAYLOAD));
    }
}

/* Measures the stack with its lowest `merged` segments as one: returns its bytes in an area. The manifest is
 * that of the snapshot. */
static uint32_t measure(sel_overlay_t *overlay, uint16_t merged, uint8_t manifest[SEL_MANIFEST_BYTES])
{
    uint32_t bytes = 0;
    if (merged > 0) {
        sink_t sink;
        sel_overlay_build(overlay, merged);
        sink_open(&sink, NULL, 0);
        add_snapshot(&sink, overlay->net);
        memcpy(manifest, segment(overlay, (uint16_t)(merged - 1)), SEL_MANIFEST_BYTES);
        sel_put16(manifest + SEL_MANIFEST_KIND, SEL_SNAPSHOT);
        sel_put32(manifest + SEL_MANIFEST_PAYLOAD, sink.bytes);
        memcpy(manifest + SEL_MANIFEST_BEFORE, sel_image_hash(overlay->net->image), SEL_HASH_BYTES);
        sel_sha256_end(&sink.hash, manifest + SEL_MANIFEST_SHA);
        sel_manifest_seal(manifest);
        bytes = sel_segment_bytes(manifest);
    }
    for (uint16_t place = merged; place < overlay->depth; place++) {
        bytes += sel_segment_bytes(segment(overlay, place));
    }
    return bytes;
}

/* Writes one segment at an offset: a snapshot of `net`, or with `copied` this one's payload. */
static int put_segment(const sel_flash_t *flash, uint32_t at, const uint8_t *manifest, const sel_net_t *net,
                       const uint8_t *copied)
{
    uint8_t header[SEL_MANIFEST_BYTES];
    sink_t sink;
    memcpy(header, manifest, sizeof header);
    if (sel_flash_put(flash, at, header, sizeof header) != 0) {
        return 1;
    }
    sink_open(&sink, flash, at + SEL_PAGE_BYTES);
    if (copied != NULL) {
        sink_add(&sink, copied, sel_get32(manifest + SEL_MANIFEST_PAYLOAD));
        sink_flush(&sink);
    } else {
        add_snapshot(&sink, net);
    }
    return sink.has_failed || sel_segment_commit(flash, at) != 0;
}

/* Writes the stack, of which `merged` segments become one, into an erased area; `stack` tells where they
 * are. */
static int put_stack(sel_overlay_t *overlay, const sel_flash_t *flash, uint16_t merged,
                     const uint8_t *snapshot, uint32_t *stack)
{
    uint32_t at = SEL_SEGMENTS_AT;
    if (merged > 0) {
        sel_overlay_build(overlay, merged);
        if (put_segment(flash, at, snapshot, overlay->net, NULL) != 0) {
            return 1;
        }
        *stack++ = at;
        at += sel_segment_bytes(snapshot);
    }
    for (uint16_t place = merged; place < overlay->depth; place++) {
        const uint8_t *manifest = segment(overlay, place);
        if (put_segment(flash, at, manifest, NULL, manifest + SEL_PAGE_BYTES) != 0) {
            return 1;
        }
        *stack++ = at;
        at += sel_segment_bytes(manifest);
    }
    return 0;
}

/* Fills the other area and changes over to it: its header comes last. */
static sel_status_t change_over(sel_overlay_t *overlay, uint16_t merged, const uint8_t *snapshot,
                                uint32_t bytes)
{
    const sel_flash_t *flash = overlay->areas[overlay->target];
    uint16_t depth = (uint16_t)(overlay->depth - merged + (merged > 0));
    uint32_t stack[SEL_MOST_SEGMENTS];
    sel_area_t area = {overlay->sequence + 1, ++overlay->erases[overlay->target], overlay->counter,
                       sel_image_hash(overlay->net->image)};
    if (sel_flash_clear(flash, flash->bytes) != 0 || put_stack(overlay, flash, merged, snapshot, stack) != 0 ||
        sel_area_put(flash, &area) != 0) {
        return SEL_FLASH_FAULT;
    }
    memcpy(overlay->stack, stack, depth * sizeof stack[0]);
    overlay->depth = depth;
    overlay->area = overlay->target;
    overlay->target = (uint8_t)(1 - overlay->area);
    overlay->sequence = area.sequence;
    overlay->end = SEL_SEGMENTS_AT + bytes;
    overlay->pending = 0;
    overlay->newest = depth > 0 ? stack[depth - 1] : 0;
    return SEL_OK;
}

sel_status_t sel_overlay_compact(sel_overlay_t *overlay, uint32_t needed, int may_merge_all,
                                 uint32_t *available)
{
    uint32_t room = overlay->areas[overlay->target]->bytes - SEL_SEGMENTS_AT;
    uint16_t merged = overlay->depth > 1 ? (uint16_t)(overlay->depth - 1) : 0;
    uint8_t snapshot[SEL_MANIFEST_BYTES];
    uint32_t bytes = measure(overlay, merged, snapshot);
    sel_status_t status = SEL_FULL;
    if (may_merge_all && (bytes > room || room - bytes < needed)) {
        merged = overlay->depth;
        bytes = measure(overlay, merged, snapshot);
    }
    *available = bytes < room ? room - bytes : 0;
    if (*available >= needed) {
        status = change_over(overlay, merged, snapshot, bytes);
    }
    sel_overlay_build(overlay, overlay->depth);
    return status;
}
