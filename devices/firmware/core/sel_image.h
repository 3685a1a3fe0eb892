/* The model image: what docs/SPEC.md calls by that name, read where it lies. */
#ifndef SEL_IMAGE_H
#define SEL_IMAGE_H

#include <stdint.h>

#include "sel_bytes.h"
#include "sel_status.h"

#define SEL_IMAGE_HEADER_BYTES 144u
#define SEL_LAYER_BYTES 96u
#define SEL_MAX_BYTES (1u << 24)
#define SEL_IMAGE_VERSION 1u
#define SEL_MAX_LAYERS 256u
#define SEL_MAX_KNOTS 32u
#define SEL_MAX_CLASSES 256u
#define SEL_PARAMETER_BYTES 8u

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "sel-edge reads images and tensors as they lie: little-endian machines only"
#endif

typedef enum {
    SEL_CONV = 1,
    SEL_LINEAR = 2,
    SEL_ADD = 3,
    SEL_MAX_POOL = 4,
    SEL_AVERAGE_POOL = 5,
    SEL_GLOBAL_AVERAGE = 6,
    SEL_RELU = 7
} sel_operation_t;

/* An image in use. From arena_bytes on, what stands in its header from byte 80 on, as it stands there. */
typedef struct {
    const uint8_t *base;
    uint32_t bytes;
    uint32_t arena_bytes, scratch_bytes;
    uint16_t layers, entries;
    uint16_t channels, height, width, form;
    uint32_t input;
    uint16_t classes, most_classes;
    uint16_t features, features_layer;
    uint32_t layers_at, pixels_at, standin_at, names_at, names_bytes, scales_at;
    uint32_t zeros[2];
} sel_image_t;

/* One layer, byte for byte as it stands in an image; the names are those of docs/SPEC.md. */
typedef struct {
    uint8_t operation, zero_1;
    uint16_t first_entry;
    uint32_t in, second, out;
    uint16_t in_channels, in_height, in_width;
    uint16_t out_channels, out_height, out_width;
    uint8_t kernel_height, kernel_width, stride_down, stride_right;
    uint8_t pad_top, pad_left, pad_bottom, pad_right;
    uint16_t groups, zero_38;
    uint8_t zero_in, zero_second, zero_out, zero_43;
    uint8_t least, greatest;
    uint16_t zero_46;
    uint32_t rows_at, row_bytes, parameters_at;
    int32_t multiplier, second_multiplier, constant;
    uint8_t shift;
    uint8_t zeros[23];
} sel_layer_t;
SEL_LIES_AS(sel_layer_t, SEL_LAYER_BYTES);

/* Why an image is refused. `reason` is one of these, plus 256 times the number of the layer it is about. */
typedef enum {
    SEL_BAD_START = 1,   /* too short or long, misaligned, of another format or version */
    SEL_BAD_CRC = 2,     /* damaged */
    SEL_BAD_HEADER = 3,  /* impossible numbers */
    SEL_BAD_SECTION = 4, /* not aligned, or outside */
    SEL_BAD_STANDIN = 5,
    SEL_BAD_NAMES = 6,
    SEL_BAD_ARENA = 7,   /* scratch or input outside */
    SEL_BAD_LAYER = 8,   /* unknown operation, entries out of order */
    SEL_BAD_SHAPE = 9,   /* of kernel, input and output */
    SEL_BAD_TENSOR = 10, /* outside, overlapping, or not there any more */
    SEL_BAD_ZERO = 11,   /* zero points that differ for one tensor */
    SEL_BAD_CHANNEL = 12, /* weights, shifts or sums out of range */
    SEL_BAD_SCRATCH = 13 /* less than a layer needs */
} sel_image_fault_t;

/* Opens an image and checks all of it but its SHA-256.
 *
 * base:      16-byte aligned, of `available` bytes; stays readable while the image is used.
 * Returns SEL_OK, or SEL_IMAGE_REFUSED with the reason.
 */
sel_status_t sel_image_open(sel_image_t *image, const uint8_t *base, uint32_t available, uint32_t *reason);

/* The image hash as the image says it; checked by sel_image_hash_is_right alone. */
const uint8_t *sel_image_hash(const sel_image_t *image);
int sel_image_hash_is_right(const sel_image_t *image);

/* Layer number `number`, below image->layers, where it lies. */
const sel_layer_t *sel_image_layer(const sel_image_t *image, uint32_t number);

static inline int sel_layer_has_weights(const sel_layer_t *layer)
{
    return layer->operation == SEL_CONV || layer->operation == SEL_LINEAR;
}

/* Rows and parameters that the image has of a layer with weights: of the last, those of its classes. */
static inline uint16_t sel_image_rows(const sel_image_t *image, const sel_layer_t *layer, uint16_t number)
{
    return number + 1 == image->layers ? image->classes : layer->out_channels;
}

/* Whether the outputs of two layers share bytes of the arena. */
int sel_image_outputs_overlap(const sel_image_t *image, uint16_t one, uint16_t other);

/* Whether a channel's parameters, and its row unless that is NULL, are within the limits of docs/SPEC.md. */
int sel_channel_is_right(const sel_layer_t *layer, const uint8_t *parameters, const uint8_t *row);

/* Whether these bytes are `count` texts, and nothing else. */
int sel_texts_are_right(const uint8_t *texts, uint32_t bytes, uint32_t count);

/* Checks the arena and the layers of an image whose header is right. Returns 0 or a reason. */
uint32_t sel_image_check_layers(const sel_image_t *image);

#endif
