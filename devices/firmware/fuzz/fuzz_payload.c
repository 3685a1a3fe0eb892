/* The readers of payloads and of overlay areas. The first byte chooses.
 *
 * 0: the rest is a payload.
 * Else the rest are edits, u16 offset and u8 of bits to flip, of an area with two deltas and a rollback.
 * Odd: the network in use must be one of those that were in it.
 * Even: the records' CRCs are repaired afterwards.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "seeds.h"
#include "sel_area.h"
#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_overlay.h"
#include "sel_sha256.h"

#define AREA_BYTES 8192u
#define PAGE(bytes) (((bytes) + SEL_PAGE_BYTES - 1) / SEL_PAGE_BYTES * SEL_PAGE_BYTES)
#define STATES 3u
#define HEADER_BYTES 56u
#define COMMIT_CRC_AT 40u
#define EDIT_BYTES 3u

typedef struct {
    const uint8_t *bytes;
    uint32_t count;
} payload_t;

static const payload_t payloads[2] = {{first_payload, sizeof first_payload},
                                      {second_payload, sizeof second_payload}};
static uint8_t whole_area[AREA_BYTES];
/* Of the image, and after each of the deltas: hash and content. */
static uint8_t states[STATES][SEL_HASH_BYTES];
static uint32_t contents[STATES];

static void hash_after(const uint8_t *before, const payload_t *payload, uint8_t *after)
{
    static const char label[] = "sel-edge overlay 1";
    sel_sha256_t hash;
    sel_sha256_begin(&hash);
    sel_sha256_add(&hash, (const uint8_t *)label, sizeof label);
    sel_sha256_add(&hash, before, SEL_HASH_BYTES);
    sel_sha256_add(&hash, payload->bytes, payload->count);
    sel_sha256_end(&hash, after);
}

static void open_areas(sel_overlay_t *overlay, sel_flash_t flashes[2], uint8_t *memory, sel_net_t *net)
{
    sel_fuzz_flash(&flashes[0], memory, AREA_BYTES);
    sel_fuzz_flash(&flashes[1], memory + AREA_BYTES, AREA_BYTES);
    memcpy(memory, whole_area, AREA_BYTES);
    sel_overlay_open(overlay, &flashes[0], &flashes[1], net);
}

static void write_manifest(sel_manifest_t *manifest, sel_segment_kind_t kind, uint64_t counter,
                           const payload_t *payload, const uint8_t *before, const uint8_t *after)
{
    memset(manifest, 0, sizeof *manifest);
    manifest->kind = (uint16_t)kind;
    manifest->bytes = payload->count;
    manifest->depth = kind == SEL_ROLLBACK ? 1 : 0;
    manifest->counter = counter;
    memcpy(manifest->before, before, SEL_HASH_BYTES);
    memcpy(manifest->after, after, SEL_HASH_BYTES);
    sel_sha256(payload->bytes, payload->count, manifest->payload_hash);
    sel_manifest_seal(manifest);
}

/* Two deltas and a rollback of the second. */
static void make_area(const sel_image_t *image)
{
    static uint8_t memory[2 * AREA_BYTES];
    static const payload_t nothing = {memory, 0};
    sel_flash_t flashes[2];
    sel_overlay_t overlay;
    sel_net_t net;
    sel_manifest_t manifest;
    uint32_t a, b;
    memset(whole_area, 0xFF, sizeof whole_area);
    memcpy(states[0], sel_image_hash(image), SEL_HASH_BYTES);
    sel_fuzz_net(&net, image);
    open_areas(&overlay, flashes, memory, &net);
    contents[0] = sel_fuzz_content(&net);
    for (uint32_t i = 0; i < 2; i++) {
        hash_after(states[i], &payloads[i], states[i + 1]);
        write_manifest(&manifest, SEL_DELTA, i + 1, &payloads[i], states[i], states[i + 1]);
        sel_fuzz_require(sel_overlay_begin(&overlay, &manifest, &a, &b) == SEL_OK, "no begin");
        sel_fuzz_require(sel_overlay_write(&overlay, 0, payloads[i].bytes, payloads[i].count) == SEL_OK,
                         "no data");
        sel_fuzz_require(sel_overlay_commit(&overlay, &manifest, &a) == SEL_OK, "no commit");
        contents[i + 1] = sel_fuzz_content(&net);
    }
    write_manifest(&manifest, SEL_ROLLBACK, 3, &nothing, states[2], states[1]);
    sel_fuzz_require(sel_overlay_rollback(&overlay, &manifest) == SEL_OK, "no rollback");
    memcpy(whole_area, flashes[overlay.area].map, AREA_BYTES);
    sel_fuzz_free(&net);
}

/* Repairs the CRCs of the area's header, and of the manifests and commit records where the area's are. */
static void repair(uint8_t *area)
{
    uint32_t at = SEL_SEGMENTS_AT;
    sel_put32(area + HEADER_BYTES, sel_crc32(0, area, HEADER_BYTES));
    for (uint32_t i = 0; i < STATES; i++) {
        uint32_t bytes = i < 2 ? payloads[i].count : 0;
        uint8_t *commit = area + at + SEL_PAGE_BYTES + PAGE(bytes);
        sel_manifest_seal((sel_manifest_t *)(void *)(area + at));
        sel_sha256(area + at, sizeof(sel_manifest_t), commit + 8);
        sel_put32(commit + COMMIT_CRC_AT, sel_crc32(0, commit, COMMIT_CRC_AT));
        at += 2 * SEL_PAGE_BYTES + PAGE(bytes);
    }
}

static int is_known(const uint8_t *hash, uint32_t content)
{
    for (uint32_t i = 0; i < STATES; i++) {
        if (memcmp(hash, states[i], SEL_HASH_BYTES) == 0) {
            return content == contents[i];
        }
    }
    return 0;
}

static void try_area(const sel_image_t *image, const uint8_t *edits, size_t size, int is_repaired)
{
    static uint8_t memory[2 * AREA_BYTES];
    sel_flash_t flashes[2];
    sel_overlay_t overlay;
    sel_net_t net;
    sel_fuzz_net(&net, image);
    open_areas(&overlay, flashes, memory, &net);
    for (; size >= EDIT_BYTES; edits += EDIT_BYTES, size -= EDIT_BYTES) {
        memory[sel_get16(edits) % AREA_BYTES] ^= edits[2];
    }
    if (is_repaired) {
        repair(memory);
    }
    sel_net_reset(&net, image, net.table, net.arena);
    sel_overlay_open(&overlay, &flashes[0], &flashes[1], &net);
    sel_fuzz_refused(is_repaired || is_known(overlay.hash, sel_fuzz_content(&net)), "a damaged area");
    sel_fuzz_infer(&net);
    sel_fuzz_free(&net);
}

static void try_payload(const sel_image_t *image, const uint8_t *bytes, size_t size)
{
    uint8_t *payload = sel_fuzz_copy(bytes, size);
    uint32_t reason = 0;
    sel_net_t net;
    sel_fuzz_net(&net, image);
    if (sel_net_check(&net, payload, (uint32_t)size, &reason) == SEL_OK) {
        sel_net_apply(&net, payload, (uint32_t)size);
    }
    sel_fuzz_infer(&net);
    sel_fuzz_free(&net);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *base;
    static sel_image_t image;
    uint32_t reason = 0;
    if (base == NULL) {
        base = sel_fuzz_copy(seed_image, sizeof seed_image);
        sel_fuzz_require(sel_image_open(&image, base, sizeof seed_image, &reason) == SEL_OK, "no image");
        make_area(&image);
    }
    if (size < 1) {
        return 0;
    }
    if (data[0] == 0) {
        try_payload(&image, data + 1, size - 1);
    } else {
        try_area(&image, data + 1, size - 1, (data[0] & 1) == 0);
    }
    return 0;
}
