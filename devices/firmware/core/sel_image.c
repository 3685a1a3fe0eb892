#include "sel_image.h"

#include <stddef.h>
#include <string.h>

#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_sha256.h"

#define SECTION 16u
#define HASH_AT 16u
#define HASHED_FROM 48u
#define NUMBERS_AT 80u
#define NUMBERS_FROM offsetof(sel_image_t, arena_bytes)
#define NUMBERS_TO (offsetof(sel_image_t, zeros) + sizeof ((sel_image_t *)0)->zeros)

/* Fails to compile where the structures are not laid out as the bytes. */
typedef char layer_is_as_it_lies[sizeof(sel_layer_t) == SEL_LAYER_BYTES ? 1 : -1];
typedef char header_is_as_it_lies[NUMBERS_TO - NUMBERS_FROM == SEL_IMAGE_HEADER_BYTES - NUMBERS_AT ? 1 : -1];

const uint8_t *sel_image_hash(const sel_image_t *image)
{
    return image->base + HASH_AT;
}

int sel_image_hash_is_right(const sel_image_t *image)
{
    uint8_t hash[SEL_HASH_BYTES];

    sel_sha256(image->base + HASHED_FROM, image->bytes - HASHED_FROM, hash);
    return memcmp(hash, sel_image_hash(image), SEL_HASH_BYTES) == 0;
}

void sel_image_layer(const sel_image_t *image, uint16_t number, sel_layer_t *layer)
{
    memcpy(layer, image->base + image->layers_at + number * SEL_LAYER_BYTES, sizeof *layer);
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
    uint32_t bytes;

    if (((uintptr_t)base & (SECTION - 1)) || available < SEL_IMAGE_HEADER_BYTES)
        return 0;
    bytes = sel_get32(base + 8);
    return memcmp(base, "SELM", 4) == 0 && sel_get16(base + 4) == SEL_IMAGE_VERSION &&
           sel_get16(base + 6) == SEL_IMAGE_HEADER_BYTES && bytes >= SEL_IMAGE_HEADER_BYTES &&
           bytes % SECTION == 0 && bytes <= SEL_MAX_BYTES && bytes <= available;
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
    const uint8_t *at = image->base + image->standin_at;
    uint32_t knots = sel_get16(at + 4);
    uint32_t i;

    if (knots < 2 || knots > SEL_MAX_KNOTS || sel_get16(at + 6) ||
        !is_inside(image, image->standin_at, 8 + 4 * knots))
        return 0;
    for (i = 1; i < knots; i++) {
        const uint8_t *uncertainty = at + 8 + 2 * i, *nats = uncertainty + 2 * knots;

        if (sel_get16(uncertainty) <= sel_get16(uncertainty - 2) || sel_get16(nats) < sel_get16(nats - 2))
            return 0;
    }
    return 1;
}

static int arena_is_right(const sel_image_t *image)
{
    uint64_t stride = (image->channels + 3u) & ~3u;
    uint64_t bytes = stride * image->height * image->width;

    return image->scratch_bytes <= image->arena_bytes && image->arena_bytes <= SEL_MAX_BYTES &&
           (image->arena_bytes - image->scratch_bytes) % 4 == 0 && image->input % 4 == 0 &&
           image->input + bytes <= image->arena_bytes - image->scratch_bytes;
}

static uint32_t fault(const sel_image_t *image)
{
    if (sel_crc32(0, image->base + HASH_AT, image->bytes - HASH_AT) != sel_get32(image->base + 12))
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
    if (!arena_is_right(image))
        return SEL_BAD_ARENA;
    return sel_image_check_layers(image);
}

sel_status_t sel_image_open(sel_image_t *image, const uint8_t *base, uint32_t available, uint32_t *reason)
{
    *reason = SEL_BAD_START;
    if (!start_is_right(base, available))
        return SEL_IMAGE_REFUSED;
    image->base = base;
    image->bytes = sel_get32(base + 8);
    memcpy((uint8_t *)image + NUMBERS_FROM, base + NUMBERS_AT, SEL_IMAGE_HEADER_BYTES - NUMBERS_AT);
    *reason = fault(image);
    return *reason ? SEL_IMAGE_REFUSED : SEL_OK;
}
