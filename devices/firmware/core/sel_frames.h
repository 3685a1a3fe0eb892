/* Frames: messages as bytes of a serial line, and back (docs/SPEC.md). */
#ifndef SEL_FRAMES_H
#define SEL_FRAMES_H

#include <stdint.h>

#include "sel_bytes.h"
#include "sel_port.h"

#define SEL_FRAME_VERSION 1u
#define SEL_FRAGMENT_BYTES 1040u
#define SEL_MOST_FRAGMENTS 256u

typedef enum { SEL_REQUEST = 1, SEL_RESPONSE = 2 } sel_kind_t;

/* What a frame begins with. */
typedef struct {
    uint8_t version, kind;
    uint16_t sequence;
    uint8_t fragment, last;
} sel_frame_t;
SEL_LIES_AS(sel_frame_t, 6);

/* Puts a message of one kind together in the caller's buffer. */
typedef struct {
    uint8_t *message;
    uint32_t room; /* bytes of the buffer: the longest message */
    uint8_t has_message; /* message, bytes and sequence are those of a whole message */
    uint16_t sequence;
    uint32_t bytes;
    uint32_t dropped; /* frames that did not decode or did not continue the message */
    sel_frame_t expected; /* what continues the message */
    /* the frame under way */
    sel_frame_t frame;
    uint32_t decoded; /* bytes of it so far */
    uint32_t crc;
    uint8_t code, left; /* of the COBS block: its code, and bytes of it to come */
    uint8_t is_bad;
} sel_decoder_t;

/* Sends one message at a time through port->write, as frames, in pieces of at most this size. */
#define SEL_PIECE_BYTES 256u

typedef struct {
    const sel_port_t *port;
    uint8_t piece[SEL_PIECE_BYTES];
    uint32_t used;
    uint32_t code_at; /* where in the piece the open COBS block begins */
    uint32_t crc;
    uint32_t left;     /* bytes of the message to come */
    uint32_t in_frame; /* bytes of the fragment to come */
    sel_frame_t frame;
} sel_encoder_t;

void sel_decoder_reset(sel_decoder_t *decoder, sel_kind_t kind, uint8_t *message, uint32_t room);

/* Takes bytes up to the end of a message: returns how many, and says in has_message if there is one. It stays
 * until the next call. */
uint32_t sel_decoder_take(sel_decoder_t *decoder, const uint8_t *bytes, uint32_t count);

/* Begins a message of so many bytes, at most SEL_MOST_FRAGMENTS * SEL_FRAGMENT_BYTES; exactly so many are
 * then put, in pieces of any size. */
void sel_encoder_begin(sel_encoder_t *encoder, const sel_port_t *port, sel_kind_t kind, uint16_t sequence,
                       uint32_t bytes);
void sel_encoder_put(sel_encoder_t *encoder, const void *bytes, uint32_t count);

#endif
