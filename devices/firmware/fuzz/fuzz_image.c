/* The image reader. The first byte tells what is repaired of the rest, so that more than the CRC is tried: 1
 * the CRC, 2 the image's size. What is not repaired is an image only if it is a seed. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "seeds.h"
#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_image.h"

#define SIZE_AT 8u
#define CRC_AT 12u
#define CRC_FROM 16u
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

static int is_seed(const sel_image_t *image)
{
    return (image->bytes == sizeof seed_image && memcmp(image->base, seed_image, sizeof seed_image) == 0) ||
           (image->bytes == sizeof other_image && memcmp(image->base, other_image, sizeof other_image) == 0);
}

static void try_image(const uint8_t *bytes, uint32_t count, int is_repaired)
{
    sel_image_t image;
    sel_net_t net;
    uint32_t reason = 0;
    if (sel_image_open(&image, bytes, count, &reason) != SEL_OK) {
        return;
    }
    sel_fuzz_refused(is_repaired || is_seed(&image), "a damaged image");
    (void)sel_image_hash_is_right(&image);
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
    try_image(bytes, (uint32_t)(size - 1), (data[0] & (REPAIR_CRC | REPAIR_SIZE)) != 0);
    free(bytes);
    return 0;
}
