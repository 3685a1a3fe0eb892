#include "sel_image.h"

#include <stddef.h>
#include <string.h>

#include "sel_crc.h"
#include "sel_sha256.h"

#define MARK 0x4D4C4553u /* SELM */
#define SECTION 16u
#define CHECKED_FROM ((uint32_t)offsetof(start_t, hash))
#define HASHED_FROM ((uint32_t)offsetof(start_t, weights_hash))
#define NUMBERS_FROM offsetof(sel_image_t, arena_bytes)
#define NUMBERS_BYTES (SEL_IMAGE_HEADER_BYTES - sizeof(start_t))

/* What the header begins with. The rest is in sel_image_t. */
typedef struct {
    uint32_t mark;
    uint16_t version, header_bytes;
    uint32_t bytes, crc;
    uint8_t hash[SEL_HASH_BYTES], weights_hash[SEL_HASH_BYTES];
} start_t;

/* Fails to compile where the numbers are not laid out as the bytes. */
typedef char numbers_lie_as_they_should
    [offsetof(sel_image_t, zeros) + 8 - NUMBERS_FROM == NUMBERS_BYTES ? 1 : -1];

static const start_t *start_of(const uint8_t *base)
{
    return (const start_t *)(const void *)base;
}

const uint8_t *sel_image_hash(const sel_image_t *image)
{
    return start_of(image->base)->hash;
}

int sel_image_hash_is_right(const sel_image_t *image)
{
    uint8_t hash[SEL_HASH_BYTES];

    sel_sha256(image->base + HASHED_FROM, image->bytes - HASHED_FROM, hash);
    return memcmp(hash, sel_image_hash(image), SEL_HASH_BYTES) == 0;
}

const sel_layer_t *sel_image_layer(const sel_image_t *image, uint32_t number)
{
    return (const sel_layer_t *)(const void *)(image->base + image->layers_at) + number;
}

int sel_texts_are_right(const uint8_t *texts, uint32_t bytes, uint32_t count)
{
    uint32_t at = 0;

    for (; count; count--) {
        if (at >= bytes || texts[at] == 0)
            return 0;
        at += 1u + texts[at];
    }
    return at == bytes;
}

static int start_is_right(const uint8_t *base, uint32_t available)
{
    const start_t *start = start_of(base);

    return ((uintptr_t)base & (SECTION - 1)) == 0 && available >= SEL_IMAGE_HEADER_BYTES &&
           start->mark == MARK && start->version == SEL_IMAGE_VERSION &&
           start->header_bytes == SEL_IMAGE_HEADER_BYTES && start->bytes >= SEL_IMAGE_HEADER_BYTES &&
           start->bytes % SECTION == 0 && start->bytes <= SEL_MAX_BYTES && start->bytes <= available;
}

static int numbers_are_right(const sel_image_t *image)
{
    return image->layers >= 1 && image->layers <= SEL_MAX_LAYERS && image->form <= 1 && image->channels &&
           image->height && image->width && image->classes >= 2 && image->classes <= image->most_classes &&
           image->most_classes <= SEL_MAX_CLASSES && image->features_layer + 1 < image->layers &&
           !(image->zeros[0] | image->zeros[1]);
}

static int is_inside(const sel_image_t *image, uint32_t at, uint32_t bytes)
{
    return at % SECTION == 0 && at >= SEL_IMAGE_HEADER_BYTES && at <= image->bytes &&
           bytes <= image->bytes - at;
}

static int sections_are_right(const sel_image_t *image)
{
    if (image->form == 0 && !is_inside(image, image->pixels_at, 256u * image->channels))
        return 0;
    if (image->form == 1 && image->pixels_at != 0)
        return 0;
    return is_inside(image, image->layers_at, SEL_LAYER_BYTES * image->layers) &&
           is_inside(image, image->standin_at, 8) && is_inside(image, image->names_at, image->names_bytes) &&
           is_inside(image, image->scales_at, 4u * (image->layers + 1u));
}

static int standin_is_right(const sel_image_t *image)
{
    const uint16_t *at = (const uint16_t *)(const void *)(image->base + image->standin_at);
    const uint16_t *knot = at + 4; /* after the inverse, the number of knots and 0 */
    uint32_t knots = at[2];

    if (knots < 2 || knots > SEL_MAX_KNOTS || at[3] || !is_inside(image, image->standin_at, 8 + 4 * knots))
        return 0;
    for (at = knot + knots - 1; knot != at; knot++)
        if (knot[1] <= knot[0] || knot[knots + 1] < knot[knots])
            return 0;
    return 1;
}

static uint32_t fault(const sel_image_t *image)
{
    if (sel_crc32(0, image->base + CHECKED_FROM, image->bytes - CHECKED_FROM) != start_of(image->base)->crc)
        return SEL_BAD_CRC;
    if (!numbers_are_right(image))
        return SEL_BAD_HEADER;
    if (!sections_are_right(image))
        return SEL_BAD_SECTION;
    if (!standin_is_right(image))
        return SEL_BAD_STANDIN;
    if (!sel_texts_are_right(image->base + image->names_at, image->names_bytes,
                             (uint32_t)image->classes + image->layers))
        return SEL_BAD_NAMES;
    return sel_image_check_layers(image);
}

sel_status_t sel_image_open(sel_image_t *image, const uint8_t *base, uint32_t available, uint32_t *reason)
{
    *reason = SEL_BAD_START;
    if (start_is_right(base, available)) {
        image->base = base;
        image->bytes = start_of(base)->bytes;
        memcpy((uint8_t *)image + NUMBERS_FROM, base + sizeof(start_t), NUMBERS_BYTES);
        *reason = fault(image);
    }
    return *reason ? SEL_IMAGE_REFUSED : SEL_OK;
}
