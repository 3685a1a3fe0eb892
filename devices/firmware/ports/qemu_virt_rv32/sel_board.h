/* The devices of qemu's `virt` machine, as far as this port uses them. */
#ifndef SEL_BOARD_H
#define SEL_BOARD_H

#include <stdint.h>

#include "sel_port.h"

#define SEL_IMAGE_PARTITION_BYTES (17u << 20) /* the largest image, 2^24 bytes, and its header */
#define SEL_OVERLAY_AREA_BYTES (2u << 20)
#define SEL_SETTINGS_BYTES (1u << 18)

/* UART 0, a 16550: polled; sends wait until there is room. */
void sel_uart_open(void);
int sel_uart_read(void); /* a byte, or -1 if none is there */
void sel_uart_write(const uint8_t *bytes, uint32_t count);
void sel_uart_wait(void); /* sleeps until a byte is there */

/* A partition of the second flash chip, whose first is the program's. */
typedef enum { SEL_PART_IMAGE, SEL_PART_AREA_A, SEL_PART_AREA_B, SEL_PART_SETTINGS } sel_partition_t;
sel_flash_t sel_pflash(sel_partition_t partition);

/* Time since the machine was started, and instructions (`-icount`) or clock cycles since the reset. */
uint64_t sel_clock_us(void);
uint64_t sel_clock_cycles(void);

/* Both end the program: a reset, and the end of the emulator with an exit status of 0 or 1. */
void sel_machine_reset(void);
void sel_machine_end(int status);

/* The device's key and identity, in the last sector of the flash. */
void sel_settings_open(sel_port_t *port);

#endif
