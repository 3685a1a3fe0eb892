/* A simulated board: flash in memory or in a file, a clock that is moved by hand, a key, and a line. Meant
 * for tests, which load it as a shared library. */
#ifndef SEL_HOST_H
#define SEL_HOST_H

#include <stdint.h>

#include "sel_device.h"
#include "sel_flash_sim.h"

#define SEL_HOST_KEY_BYTES 32u

/* What a board has. The sizes of flash are multiples of 4096. */
typedef struct {
    uint32_t image_bytes; /* of the image partition */
    uint32_t area_bytes;  /* of each overlay area */
    uint32_t arena_bytes;
    uint32_t table_entries;
    uint32_t message_bytes;
    uint32_t samples_bytes;
    uint32_t log_bytes;
    uint32_t window;
    uint32_t seed; /* of its random numbers; 0: those of the operating system */
    uint8_t device_id[8];
} sel_host_options_t;

typedef struct sel_host sel_host_t;

/* A board that has started.
 *
 * path: file of its flash, which is made if it is missing and holds its key too; NULL for flash in memory.
 * Returns NULL if memory or the file cannot be had.
 */
sel_host_t *sel_host_new(const sel_host_options_t *options, const char *path);
void sel_host_free(sel_host_t *host);

/* Switches it off and on: only flash and key stay. */
void sel_host_restart(sel_host_t *host);

/* Moves its clock. */
void sel_host_advance(sel_host_t *host, uint32_t milliseconds);

/* Takes bytes from the line; restarts afterwards if that was asked for. */
void sel_host_receive(sel_host_t *host, const uint8_t *bytes, uint32_t count);

/* Moves at most `room` bytes of what it has sent to `out`; returns how many. */
uint32_t sel_host_sent(sel_host_t *host, uint8_t *out, uint32_t room);

/* A frame of its own camera; class, uncertainty and embarrassment in `numbers`. Returns a sel_status_t. */
int sel_host_observe(sel_host_t *host, const uint8_t *frame, uint16_t numbers[3]);

/* Its key, as a factory sets it. */
void sel_host_set_key(sel_host_t *host, const uint8_t key[SEL_HOST_KEY_BYTES]);

/* A partition: 0 image, 1 and 2 overlay areas. And the device that runs on it. */
sel_flash_sim_t *sel_host_flash(sel_host_t *host, uint32_t number);
const sel_device_t *sel_host_device(const sel_host_t *host);

#endif
