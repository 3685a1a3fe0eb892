/* The C frames as two functions, for test_frames_c.py. */
#include <string.h>

#include "sel_frames.h"

typedef struct {
    uint8_t *bytes;
    uint32_t count, longest_piece;
} line_t;

typedef struct {
    uint16_t sequence;
    uint32_t at, bytes; /* where in the output a message lies */
} found_t;

static void carry(void *context, const uint8_t *bytes, uint32_t count)
{
    line_t *line = context;
    memcpy(line->bytes + line->count, bytes, count);
    line->count += count;
    line->longest_piece = count > line->longest_piece ? count : line->longest_piece;
}

/* Encodes a message that is put in pieces; returns the bytes in `out`, or 0 if a piece sent was too long. */
uint32_t probe_encode(uint8_t kind, uint16_t sequence, const uint8_t *message, uint32_t bytes, uint32_t piece,
                      uint8_t *out)
{
    static sel_port_t port;
    static sel_encoder_t encoder;
    line_t line = {out, 0, 0};
    port.context = &line;
    port.write = carry;
    sel_encoder_begin(&encoder, &port, (sel_kind_t)kind, sequence, bytes);
    for (uint32_t at = 0; at < bytes; at += piece) {
        sel_encoder_put(&encoder, message + at, piece < bytes - at ? piece : bytes - at);
    }
    return line.longest_piece > SEL_PIECE_BYTES ? 0 : line.count;
}

/* Decodes a line that is fed in pieces with a buffer of `room` bytes; returns the number of messages found. */
uint32_t probe_decode(uint8_t kind, const uint8_t *bytes, uint32_t count, uint32_t piece, uint8_t *buffer,
                      uint32_t room, uint8_t *out, found_t *found, uint32_t *dropped)
{
    sel_decoder_t decoder;
    uint32_t messages = 0, at = 0;
    sel_decoder_reset(&decoder, (sel_kind_t)kind, buffer, room);
    for (uint32_t from = 0; from < count;) {
        uint32_t end = from + (piece < count - from ? piece : count - from);
        while (from < end) {
            from += sel_decoder_take(&decoder, bytes + from, end - from);
            if (decoder.has_message) {
                memcpy(out + at, decoder.message, decoder.bytes);
                found[messages].sequence = decoder.sequence;
                found[messages].at = at;
                found[messages++].bytes = decoder.bytes;
                at += decoder.bytes;
            }
        }
    }
    *dropped = decoder.dropped;
    return messages;
}
