#include "sel_log.h"

void sel_log_reset(sel_log_t *log, uint8_t *ring, uint32_t room)
{
    log->ring = ring;
    log->room = room;
    log->written = 0;
}

void sel_log_text(sel_log_t *log, const char *text)
{
    for (; *text != '\0' && log->room > 0; text++) {
        log->ring[log->written % log->room] = (uint8_t)*text;
        log->written++;
    }
}

void sel_log_number(sel_log_t *log, const char *text, uint32_t number)
{
    char digits[12];
    char *at = digits + sizeof digits;
    *--at = '\0';
    *--at = '\n';
    sel_log_text(log, text);
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    sel_log_text(log, at);
}

uint32_t sel_log_first(const sel_log_t *log, uint32_t wanted)
{
    uint32_t oldest = log->written > log->room ? log->written - log->room : 0;
    return wanted < oldest || wanted > log->written ? oldest : wanted;
}

uint8_t sel_log_byte(const sel_log_t *log, uint32_t at)
{
    return log->ring[at % log->room];
}
