/* The image partition: a record of the image that is complete, and the image from SEL_IMAGE_AT on
 * (docs/SPEC.md). It has no state but what is in flash. */
#ifndef SEL_STORE_H
#define SEL_STORE_H

#include <stdint.h>

#include "sel_area.h"
#include "sel_image.h"

#define SEL_IMAGE_AT 4096u

/* Opens the image. SEL_NO_IMAGE if none was ever completed, or another is on its way;
 * SEL_IMAGE_REFUSED with sel_image_open's reason if it is damaged. */
sel_status_t sel_store_open(const sel_flash_t *flash, sel_image_t *image, uint32_t *reason);

/* Makes room for an image; goes on with it if it is the one on its way, and does nothing if it is the one
 * in use. Any other is gone from now on, so call nothing that reads it any more. Erases the whole partition,
 * which takes seconds. SEL_FULL tells in needed and available why. The MAC was checked by the caller. */
sel_status_t sel_store_begin(const sel_flash_t *flash, uint32_t bytes, const uint8_t hash[32],
                             uint32_t *needed, uint32_t *available);

/* Where the image of the record arrives, or is already. */
void sel_store_place(const sel_flash_t *flash, sel_place_t *place);

/* Writes a chunk; writing it again changes nothing. SEL_INCOMPLETE if it cannot be written where something
 * else was written before: begin again. */
sel_status_t sel_store_write(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes);

/* Checks the image and lets it be opened. SEL_IMAGE_REFUSED has sel_image_open's reason. */
sel_status_t sel_store_commit(const sel_flash_t *flash, const uint8_t hash[32], uint32_t *reason);

#endif
