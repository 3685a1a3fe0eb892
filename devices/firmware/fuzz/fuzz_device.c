/* A whole board under a script of requests that would be right, but for what the script does to them.
 *
 * The script: steps of u8 what, u8 how, and u16 offset and u8 bits for each edit. The low 3 bits of `how` are
 * the number of edits, bits that are flipped; the flags say where, and more. Whatever happens, the board runs
 * a network that was really sent to it, and what it sends are frames.
 */
#include <string.h>

#include "fuzz.h"
#include "fuzz_board.h"
#include "seeds.h"
#include "sel_area.h"
#include "sel_bytes.h"
#include "sel_sha256.h"

#define EDIT_BYTES 3u
#define MOST_STEPS 64u
#define MOST_KNOWN (MOST_STEPS + 4u)

enum { EDITS = 7, BEFORE_MAC = 8, IN_LINE = 16, CUT = 32, RESTARTED = 64, OTHERS = 128 };

enum { PLAIN, DELTA_BEGIN, DELTA_DATA, DELTA_COMMIT, ROLLBACK, IMAGE_BEGIN, IMAGE_DATA, IMAGE_COMMIT, STEPS };

typedef struct {
    const uint8_t *bytes;
    uint32_t count;
} blob_t;

typedef struct {
    uint8_t bytes[FUZZ_MESSAGE_BYTES];
    uint32_t count;
} message_t;

typedef struct {
    const uint8_t *bytes;
    uint32_t count;
    uint8_t how;
} edits_t;

/* Requests without a MAC: hello, status, time, log, reboot, provision, infer, sampling, sample. */
static const struct {
    uint8_t operation;
    uint8_t fields[8];
    uint32_t count;
} plain[] = {
    {0x01, {1, 1}, 2},  {0x02, {0}, 0},    {0x03, {0xFF, 0xFF}, 8},     {0x04, {0}, 4}, {0x05, {0}, 0},
    {0x06, {0}, 32},    {0x10, {7, 0}, 194}, {0x11, {0, 0, 1, 0, 99}, 8}, {0x12, {0}, 4},
};
static const blob_t payloads[2] = {{first_payload, sizeof first_payload},
                                   {second_payload, sizeof second_payload}};
static const blob_t images[2] = {{seed_image, sizeof seed_image}, {other_image, sizeof other_image}};

static const sel_device_t *device;
static uint8_t known[MOST_KNOWN][SEL_HASH_BYTES]; /* hashes of networks that were really sent */
static uint32_t known_count, chunk;
static sel_manifest_t begun; /* the manifest of the delta that was begun last */

static void add(message_t *message, const uint8_t *bytes, uint32_t count)
{
    memcpy(message->bytes + message->count, bytes, count);
    message->count += count;
}

static void edit(uint8_t *bytes, uint32_t count, const edits_t *edits)
{
    for (uint32_t i = 0; i < edits->count && count > 0; i++) {
        const uint8_t *at = edits->bytes + i * EDIT_BYTES;
        bytes[sel_get16(at) % count] ^= at[2];
    }
}

static void sign(message_t *message, const char *label, const void *content, uint32_t count)
{
    uint8_t mac[SEL_MAC_BYTES];
    fuzz_board_mac(label, content, count, mac);
    add(message, content, count);
    add(message, mac, sizeof mac);
}

static void hash_after(const uint8_t *before, const blob_t *payload, uint8_t *after)
{
    static const char label[] = "sel-edge overlay 1";
    sel_sha256_t hash;
    sel_sha256_begin(&hash);
    sel_sha256_add(&hash, (const uint8_t *)label, sizeof label);
    sel_sha256_add(&hash, before, SEL_HASH_BYTES);
    sel_sha256_add(&hash, payload->bytes, payload->count);
    sel_sha256_end(&hash, after);
}

/* A delta with a payload on the network in use, or, without one, a rollback of it. */
static void make_manifest(sel_manifest_t *manifest, const blob_t *payload)
{
    static const blob_t nothing = {seed_image, 0};
    const sel_overlay_t *overlay = &device->overlay;
    memset(manifest, 0, sizeof *manifest);
    memcpy(manifest->before, overlay->hash, SEL_HASH_BYTES);
    manifest->kind = payload != NULL ? SEL_DELTA : SEL_ROLLBACK;
    if (payload != NULL) {
        hash_after(overlay->hash, payload, manifest->after);
    } else {
        manifest->depth = 1;
        payload = &nothing;
        if (overlay->depth > 0) {
            memcpy(manifest->after, overlay->stack[overlay->depth - 1]->before, SEL_HASH_BYTES);
        }
    }
    manifest->bytes = payload->count;
    manifest->counter = overlay->counter + 1;
    sel_sha256(payload->bytes, payload->count, manifest->payload_hash);
    sel_manifest_seal(manifest);
}

static void add_chunk(message_t *message, const blob_t *blob)
{
    uint32_t chunks = (blob->count + SEL_CHUNK_BYTES - 1) / SEL_CHUNK_BYTES;
    uint32_t offset = chunk++ % chunks * SEL_CHUNK_BYTES, left = blob->count - offset;
    uint8_t field[4];
    sel_put32(field, offset);
    add(message, field, sizeof field);
    add(message, blob->bytes + offset, left < SEL_CHUNK_BYTES ? left : SEL_CHUNK_BYTES);
}

static void add_image_fields(message_t *message, uint8_t what, const blob_t *image, const edits_t *edits)
{
    uint8_t content[4 + SEL_HASH_BYTES];
    sel_put32(content, image->count);
    memcpy(content + 4, image->bytes + 16, SEL_HASH_BYTES);
    if (edits->how & BEFORE_MAC) {
        edit(content, sizeof content, edits);
    }
    sign(message, "sel-edge image 1", content, sizeof content);
    if (what == IMAGE_COMMIT) {
        message->count -= 4;
        memmove(message->bytes + 2, message->bytes + 6, message->count - 2);
    }
}

static void add_delta_fields(message_t *message, uint8_t what, const blob_t *payload, const edits_t *edits)
{
    sel_manifest_t rollback, *manifest = what == ROLLBACK ? &rollback : &begun;
    const char *label = what == ROLLBACK      ? "sel-edge back  1"
                        : what == DELTA_BEGIN ? "sel-edge begin 1"
                                              : "sel-edge keep  1";
    if (what != DELTA_COMMIT) {
        make_manifest(manifest, what == ROLLBACK ? NULL : payload);
    }
    if (edits->how & BEFORE_MAC) {
        edit((uint8_t *)manifest, sizeof *manifest, edits);
        sel_manifest_seal(manifest);
    }
    sign(message, label, manifest, sizeof *manifest);
}

static void make_message(message_t *message, uint8_t what, uint32_t which, const edits_t *edits)
{
    static const uint8_t operations[STEPS] = {0, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32};
    uint32_t number = (edits->how & OTHERS) != 0;
    memset(message, 0, sizeof *message);
    message->bytes[0] = operations[what];
    message->count = 2;
    if (what == PLAIN) {
        which %= sizeof plain / sizeof plain[0];
        message->bytes[0] = plain[which].operation;
        memcpy(message->bytes + 2, plain[which].fields, sizeof plain[which].fields);
        message->count += plain[which].count;
    } else if (what == DELTA_DATA || what == IMAGE_DATA) {
        add_chunk(message, what == DELTA_DATA ? &payloads[number] : &images[number]);
    } else if (what >= IMAGE_BEGIN) {
        add_image_fields(message, what, &images[number], edits);
    } else {
        add_delta_fields(message, what, &payloads[number], edits);
    }
}

/* The network in use is one that was sent: an image, or what a payload makes of the one before. */
static void check_network(const uint8_t *before)
{
    const uint8_t *now = device->overlay.hash;
    uint8_t after[SEL_HASH_BYTES];
    if (!device->has_image) {
        return;
    }
    for (uint32_t i = 0; i < known_count; i++) {
        if (memcmp(known[i], now, SEL_HASH_BYTES) == 0) {
            return;
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        hash_after(before, &payloads[i], after);
        if (memcmp(after, now, SEL_HASH_BYTES) == 0) {
            memcpy(known[known_count++], now, SEL_HASH_BYTES);
            return;
        }
    }
    sel_fuzz_refused(0, "a damaged network");
}

/* Sends what a step says; returns whether a request was changed behind its MAC and is obeyed. A repeated
 * commit or rollback is answered without a look at the MAC, and leaves the nonce. */
static int send_step(uint8_t what, uint32_t which, const edits_t *edits)
{
    static message_t message, original;
    static uint8_t line[FUZZ_LINE_BYTES];
    uint8_t nonce[SEL_NONCE_BYTES];
    int has_mac = what != PLAIN && what != DELTA_DATA && what != IMAGE_DATA, status, is_new;
    uint32_t count;
    make_message(&message, what, which, edits);
    original = message;
    memcpy(nonce, device->nonce, sizeof nonce);
    if (!(edits->how & (BEFORE_MAC | IN_LINE))) {
        edit(message.bytes, message.count, edits);
    }
    if (edits->how & CUT) {
        message.count -= edits->count > 0 ? edits->bytes[0] % message.count : 1;
    }
    count = fuzz_board_frame(message.bytes, message.count, line);
    if (edits->how & IN_LINE) {
        edit(line, count, edits);
    }
    status = fuzz_board_send(line, count);
    is_new = what == DELTA_BEGIN || what == IMAGE_BEGIN || memcmp(nonce, device->nonce, sizeof nonce) != 0;
    return has_mac && status == SEL_OK && is_new && message.bytes[0] == original.bytes[0] &&
           memcmp(&message, &original, sizeof message) != 0;
}

static void step(uint8_t what, const edits_t *edits)
{
    uint8_t before[SEL_HASH_BYTES];
    if (edits->how & RESTARTED) {
        fuzz_board_restart();
    }
    memcpy(before, device->overlay.hash, sizeof before);
    sel_fuzz_refused(!send_step(what % STEPS, what / STEPS, edits), "a request with a wrong MAC");
    check_network(before);
}

/* A board with an image, which every script begins with. */
static void make_board(void)
{
    static const edits_t none = {NULL, 0, 0};
    device = fuzz_board_start(1);
    step(IMAGE_BEGIN, &none);
    for (uint32_t at = 0; at < sizeof seed_image; at += SEL_CHUNK_BYTES) {
        step(IMAGE_DATA, &none);
    }
    for (uint32_t i = 0; i < 2; i++) {
        memcpy(known[known_count++], images[i].bytes + 16, SEL_HASH_BYTES);
    }
    step(IMAGE_COMMIT, &none);
    sel_fuzz_require(device->has_image, "no image");
    fuzz_board_keep();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (device == NULL) {
        make_board();
    }
    (void)fuzz_board_start(0);
    known_count = 2;
    chunk = 0;
    memset(&begun, 0, sizeof begun);
    for (uint32_t steps = 0; size >= 2 && steps < MOST_STEPS; steps++) {
        edits_t edits = {data + 2, data[1] & EDITS, data[1]};
        uint32_t most = (uint32_t)((size - 2) / EDIT_BYTES);
        edits.count = edits.count < most ? edits.count : most;
        step(data[0], &edits);
        data += 2 + edits.count * EDIT_BYTES;
        size -= 2 + edits.count * EDIT_BYTES;
    }
    return 0;
}
