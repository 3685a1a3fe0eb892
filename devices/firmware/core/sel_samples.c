#include "sel_samples.h"

#include <string.h>

#define TOKENS_OF_A_SAMPLE 60000u

void sel_samples_reset(sel_samples_t *samples, uint8_t *ring, uint32_t room, uint32_t first_number)
{
    memset(samples, 0, sizeof *samples);
    samples->ring = ring;
    samples->room = room;
    samples->next = first_number == 0 ? 1 : first_number;
    samples->form = SEL_SAMPLE_FRAME;
}

void sel_samples_clear(sel_samples_t *samples)
{
    samples->lost += samples->waiting;
    samples->waiting = 0;
    samples->used = 0;
}

void sel_samples_set(sel_samples_t *samples, uint16_t least_embarrassment, uint8_t form, uint16_t per_minute,
                     uint32_t uptime_ms)
{
    samples->least_embarrassment = least_embarrassment;
    samples->form = form;
    if (samples->per_minute != per_minute) {
        samples->per_minute = per_minute;
        samples->tokens = per_minute * TOKENS_OF_A_SAMPLE;
        samples->uptime_ms = uptime_ms;
    }
}

int sel_samples_wants(sel_samples_t *samples, uint16_t embarrassment, uint32_t uptime_ms)
{
    uint32_t most = samples->per_minute * TOKENS_OF_A_SAMPLE;
    uint32_t elapsed = uptime_ms - samples->uptime_ms;
    uint32_t missing = most - samples->tokens;
    uint64_t gained = (uint64_t)elapsed * samples->per_minute;
    samples->tokens = gained < missing ? samples->tokens + (uint32_t)gained : most;
    samples->uptime_ms = uptime_ms;
    if (embarrassment < samples->least_embarrassment || samples->tokens < TOKENS_OF_A_SAMPLE) {
        return 0;
    }
    samples->tokens -= TOKENS_OF_A_SAMPLE;
    return 1;
}

static void copy_in(sel_samples_t *samples, const void *bytes, uint32_t count)
{
    uint32_t at = (samples->first + samples->used) % samples->room;
    uint32_t part = sel_least(count, samples->room - at);
    memcpy(samples->ring + at, bytes, part);
    memcpy(samples->ring, (const uint8_t *)bytes + part, count - part);
    samples->used += count;
}

void sel_samples_put(sel_samples_t *samples, sel_sample_t *sample, const uint8_t *bytes)
{
    uint32_t free_bytes = samples->room - samples->used;
    if (free_bytes < sizeof *sample || free_bytes - sizeof *sample < sample->bytes ||
        samples->waiting == UINT16_MAX) {
        samples->lost++;
        return;
    }
    sample->number = samples->next;
    copy_in(samples, sample, sizeof *sample);
    copy_in(samples, bytes, sample->bytes);
    samples->waiting++;
    samples->next = samples->next == UINT32_MAX ? 1 : samples->next + 1;
}

void sel_samples_oldest(const sel_samples_t *samples, sel_sample_t *sample)
{
    uint32_t part = sel_least(sizeof *sample, samples->room - samples->first);
    memset(sample, 0, sizeof *sample);
    if (samples->waiting > 0) {
        memcpy(sample, samples->ring + samples->first, part);
        memcpy((uint8_t *)sample + part, samples->ring, sizeof *sample - part);
        sample->waiting = (uint16_t)(samples->waiting - 1);
    }
}

void sel_samples_arrived(sel_samples_t *samples, uint32_t number)
{
    sel_sample_t oldest;
    sel_samples_oldest(samples, &oldest);
    if (oldest.number != 0 && oldest.number == number) {
        uint32_t size = SEL_SAMPLE_HEADER_BYTES + oldest.bytes;
        samples->first = (samples->first + size) % samples->room;
        samples->used -= size;
        samples->waiting--;
    }
}

uint32_t sel_samples_piece(const sel_samples_t *samples, uint32_t at, uint32_t count, const uint8_t **piece)
{
    uint32_t from = (samples->first + SEL_SAMPLE_HEADER_BYTES + at) % samples->room;
    *piece = samples->ring + from;
    return sel_least(count, samples->room - from);
}
