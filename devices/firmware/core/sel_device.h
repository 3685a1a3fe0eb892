/* A board: flash, network, overlay, samples, log and link, put together. */
#ifndef SEL_DEVICE_H
#define SEL_DEVICE_H

#include <stdint.h>

#include "sel_frames.h"
#include "sel_image.h"
#include "sel_log.h"
#include "sel_net.h"
#include "sel_overlay.h"
#include "sel_port.h"
#include "sel_samples.h"
#include "sel_status.h"

#define SEL_FIRMWARE_MAJOR 0u
#define SEL_FIRMWARE_MINOR 1u
#define SEL_LEAST_MESSAGE_BYTES 1040u
#define SEL_NONCE_BYTES 16u
#define SEL_MAC_BYTES 32u

/* Faults, as status tells them. */
#define SEL_FAULT_NO_IMAGE 1u
#define SEL_FAULT_IMAGE 2u
#define SEL_FAULT_OVERLAY 4u
#define SEL_FAULT_FLASH 8u

/* Reasons for SEL_IMAGE_REFUSED beside those of sel_image.c: the board's memory is too small for it. */
#define SEL_REASON_ARENA 101u
#define SEL_REASON_TABLE 102u
#define SEL_REASON_MESSAGE 103u

/* The buffers of a board. The arena is 4-byte aligned. */
typedef struct {
    uint8_t *arena;
    sel_channel_t *table;
    uint8_t *message;
    uint8_t *samples;
    uint8_t *log;
    uint32_t arena_bytes;
    uint32_t table_entries;
    uint32_t message_bytes;
    uint32_t samples_bytes;
    uint32_t log_bytes;
} sel_memory_t;

/* What a board is made of; stays as it is while the device is used.
 *
 * window: requests that the port's receive buffer holds, each of up to SEL_FRAGMENT_BYTES; at least 1.
 */
typedef struct {
    const sel_port_t *port;
    const sel_flash_t *image;
    const sel_flash_t *areas[2];
    sel_memory_t memory;
    uint16_t window;
} sel_board_t;

/* Operations of requests that the device tells apart. */
enum {
    SEL_NO_DATA = 0,
    SEL_DELTA_DATA = 0x21,
    SEL_DELTA_COMMIT = 0x22,
    SEL_DELTA_ROLLBACK = 0x23,
    SEL_IMAGE_DATA = 0x31
};

typedef struct {
    const sel_board_t *board;
    sel_image_t image;
    sel_net_t net;
    sel_overlay_t overlay;
    sel_samples_t samples;
    sel_log_t log;
    sel_decoder_t decoder;
    sel_encoder_t encoder;
    uint8_t nonce[SEL_NONCE_BYTES];
    uint32_t begun; /* of the MAC of the begin that the nonce has served; 0 for none yet */
    uint8_t has_image;
    uint8_t transfer; /* the operation of the data that may be sent; SEL_NO_DATA for none */
    uint16_t faults;
    uint32_t frames; /* observed since the start */
    uint32_t observed_crc; /* the last observed request, so that it can be repeated */
    uint16_t observed_sequence;
} sel_device_t;

/* The least buffers, all pointers NULL, for the image in the partition; without one, those that a board needs
 * to answer at all. The sample queue holds four frames, the log 1 KB. A later image may need more. */
void sel_device_sizes(const sel_flash_t *image_partition, sel_memory_t *sizes);

/* Starts a board: finds the image and the overlay. Without an image it answers on the link all the same. */
void sel_device_open(sel_device_t *device, const sel_board_t *board);

/* Takes bytes from the link, and answers what they complete. */
void sel_device_receive(sel_device_t *device, const uint8_t *bytes, uint32_t count);

/* Answers for a frame of the board's own, sel_net_input_bytes(&device->image) bytes, and may queue it as a
 * sample. SEL_NO_IMAGE if there is no network. */
sel_status_t sel_device_observe(sel_device_t *device, const uint8_t *input, sel_answer_t *answer);

#endif
