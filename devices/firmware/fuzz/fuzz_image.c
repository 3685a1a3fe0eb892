/* The image reader. The first byte tells what is repaired of the rest, so that more than the CRC is tried:
 * 1 the CRC, 2 the image's size. What is opened has a right CRC, which libFuzzer finds by itself too: it
 * follows comparisons. Of the hash it is seen that it is not told to be right if it is wrong. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_image.h"
#include "sel_sha256.h"

#define SIZE_AT 8u
#define CRC_AT 12u
#define CRC_FROM 16u
#define HASH_AT 16u
#define HASHED_FROM 48u
#define MOST_ARENA_BYTES (1u << 20)

enum { REPAIR_CRC = 1, REPAIR_SIZE = 2 };

static void repair(uint8_t *image, uint32_t count, uint8_t what)
{
    uint32_t bytes;
    if (count < CRC_FROM) {
        return;
    }
    if (what & REPAIR_SIZE) {
        sel_put32(image + SIZE_AT, count & ~15u);
    }
    bytes = sel_get32(image + SIZE_AT);
    if ((what & REPAIR_CRC) && bytes >= CRC_FROM && bytes <= count) {
        sel_put32(image + CRC_AT, sel_crc32(0, image + CRC_FROM, bytes - CRC_FROM));
    }
}

static int crc_is_right(const sel_image_t *image)
{
    return sel_get32(image->base + CRC_AT) == sel_crc32(0, image->base + CRC_FROM, image->bytes - CRC_FROM);
}

static int hash_is_right(const sel_image_t *image)
{
    uint8_t hash[SEL_HASH_BYTES];
    sel_sha256(image->base + HASHED_FROM, image->bytes - HASHED_FROM, hash);
    return memcmp(hash, image->base + HASH_AT, sizeof hash) == 0;
}

static void try_image(const uint8_t *bytes, uint32_t count)
{
    sel_image_t image;
    sel_net_t net;
    uint32_t reason = 0;
    if (sel_image_open(&image, bytes, count, &reason) != SEL_OK) {
        return;
    }
    sel_fuzz_refused(crc_is_right(&image), "a damaged image");
    sel_fuzz_refused(hash_is_right(&image) || !sel_image_hash_is_right(&image), "a wrong hash");
    if (image.arena_bytes <= MOST_ARENA_BYTES) {
        sel_fuzz_net(&net, &image);
        sel_fuzz_infer(&net);
        sel_fuzz_free(&net);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes;
    if (size < 1) {
        return 0;
    }
    bytes = sel_fuzz_copy(data + 1, size - 1);
    repair(bytes, (uint32_t)(size - 1), data[0]);
    try_image(bytes, (uint32_t)(size - 1));
    free(bytes);
    return 0;
}
