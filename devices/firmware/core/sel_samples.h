/* Samples that wait for the host: a ring in the caller's memory, and how many a minute may enter it. */
#ifndef SEL_SAMPLES_H
#define SEL_SAMPLES_H

#include <stdint.h>

#include "sel_bytes.h"

#define SEL_SAMPLE_HEADER_BYTES 28u
#define SEL_SAMPLE_TOLD_BYTES 24u /* of the header: what the message says before the sample's bytes */

typedef enum { SEL_SAMPLE_FRAME = 1, SEL_SAMPLE_FEATURES = 2 } sel_form_t;

/* What is known of a sample besides its bytes. */
typedef struct {
    uint32_t number; /* 0 for none */
    uint32_t frame;
    sel_u64_t time_ms;
    uint16_t label;
    uint16_t embarrassment; /* 1/256 nat */
    uint8_t form, zero;
    uint16_t waiting; /* behind it, for the oldest */
    uint32_t bytes;
} sel_sample_t;
SEL_LIES_AS(sel_sample_t, SEL_SAMPLE_HEADER_BYTES);

typedef struct {
    uint8_t *ring;
    uint32_t room;
    uint32_t first, used; /* bytes */
    uint16_t waiting;
    uint32_t next; /* number of the next sample */
    uint32_t lost; /* samples that found no room */
    /* what is sampled */
    uint16_t least_embarrassment; /* 1/256 nat */
    uint8_t form;
    uint16_t per_minute;
    uint32_t tokens; /* 60000 are one sample; full with a minute's samples */
    uint32_t uptime_ms; /* when tokens were last added */
} sel_samples_t;

/* No samples; `first_number` differs from start to start, so that an old acknowledgement means nothing. */
void sel_samples_reset(sel_samples_t *samples, uint8_t *ring, uint32_t room, uint32_t first_number);

/* Gives up all samples that wait; they are counted as lost. */
void sel_samples_clear(sel_samples_t *samples);

/* What to sample from now on; a rate that differs from the one before begins with a full bucket. */
void sel_samples_set(sel_samples_t *samples, uint16_t least_embarrassment, uint8_t form, uint16_t per_minute,
                     uint32_t uptime_ms);

/* Whether a frame is to be sampled now; takes its token. */
int sel_samples_wants(sel_samples_t *samples, uint16_t embarrassment, uint32_t uptime_ms);

/* Queues a sample, to which it gives the next number, or counts it as lost. */
void sel_samples_put(sel_samples_t *samples, sel_sample_t *sample, const uint8_t *bytes);

/* Removes the oldest sample if that is its number. */
void sel_samples_arrived(sel_samples_t *samples, uint32_t number);

/* The oldest sample; number 0 for none. */
void sel_samples_oldest(const sel_samples_t *samples, sel_sample_t *sample);

/* Bytes of the oldest sample from `at` on, as many as lie in one piece, at most `count`; returns how many. */
uint32_t sel_samples_piece(const sel_samples_t *samples, uint32_t at, uint32_t count, const uint8_t **piece);

#endif
