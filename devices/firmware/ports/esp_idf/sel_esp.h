/* sel-edge on ESP-IDF: a board made of partitions, the HMAC peripheral and a serial line. */
#ifndef SEL_ESP_H
#define SEL_ESP_H

#include <stdint.h>

#include "esp_err.h"
#include "sel_device.h"

/* Finds the partitions, opens the serial line, and describes the board; its memory is static.
 * ESP_ERR_NOT_FOUND if a partition of partitions.csv is missing. */
esp_err_t sel_esp_open(sel_board_t *board);

/* Reads what the link has brought, at most `room` bytes; waits so long for the first. Returns how many. */
uint32_t sel_esp_read(uint8_t *bytes, uint32_t room, uint32_t wait_ms);

/* For the port itself. */
#define SEL_ESP_WINDOW 4u
esp_err_t sel_esp_open_link(void);
void sel_esp_write(void *context, const uint8_t *bytes, uint32_t count);
void sel_esp_flush_link(void); /* returns when what was written is sent */
esp_err_t sel_esp_open_flash(const char *label, sel_flash_t *flash);

#endif
