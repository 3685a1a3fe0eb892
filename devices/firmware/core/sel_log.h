/* The log: the newest text of a board, in a ring in the caller's memory. */
#ifndef SEL_LOG_H
#define SEL_LOG_H

#include <stdint.h>

typedef struct {
    uint8_t *ring;
    uint32_t room;
    uint32_t written; /* bytes ever */
} sel_log_t;

void sel_log_reset(sel_log_t *log, uint8_t *ring, uint32_t room);

/* Appends a text; a text, a number in decimal digits, and the end of the line. */
void sel_log_text(sel_log_t *log, const char *text);
void sel_log_number(sel_log_t *log, const char *text, uint32_t number);

/* First byte to read for one who wants to read from `wanted` on: the oldest that is left, if that is newer or
 * `wanted` was never written (the board has restarted). */
uint32_t sel_log_first(const sel_log_t *log, uint32_t wanted);

/* Byte number `at`, from sel_log_first on and below log->written. */
uint8_t sel_log_byte(const sel_log_t *log, uint32_t at);

#endif
