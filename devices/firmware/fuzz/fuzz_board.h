/* A board for fuzz_device.c: flash in memory, a known key, and a host that listens to its line. */
#ifndef SEL_FUZZ_BOARD_H
#define SEL_FUZZ_BOARD_H

#include "sel_device.h"

#define FUZZ_MESSAGE_BYTES 1100u
#define FUZZ_LINE_BYTES 2400u

/* Starts it with blank flash, or with its flash as it was kept. What is random is the same each time. */
const sel_device_t *fuzz_board_start(int is_blank);
void fuzz_board_keep(void);

/* Switches it off and on. */
void fuzz_board_restart(void);

/* A request as a line for it, at most FUZZ_LINE_BYTES; returns how many. */
uint32_t fuzz_board_frame(const uint8_t *message, uint32_t count, uint8_t *line);

/* Sends bytes to it; what it answers must be frames. Returns the last answer's status, -1 if none came. */
int fuzz_board_send(const uint8_t *line, uint32_t count);

/* The MAC under its key of a label of 16 characters, its nonce and some content. */
void fuzz_board_mac(const char *label, const uint8_t *content, uint32_t count, uint8_t mac[SEL_MAC_BYTES]);

#endif
