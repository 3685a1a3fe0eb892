#include "sel_frames.h"

#include <string.h>

#include "sel_crc.h"

#define HEADER_BYTES ((uint32_t)sizeof(sel_frame_t))
#define CRC_BYTES 4u
#define LONGEST_BLOCK 0xFFu
/* CRC-32 of any bytes and their own CRC-32 after them. */
#define CRC_OF_RIGHT_BYTES 0x2144DF1Cu

static void await_frame(sel_decoder_t *decoder)
{
    decoder->decoded = 0;
    decoder->crc = 0;
    decoder->code = 0;
    decoder->left = 0;
    decoder->is_bad = 0;
}

void sel_decoder_reset(sel_decoder_t *decoder, sel_kind_t kind, uint8_t *message, uint32_t room)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->expected.version = SEL_FRAME_VERSION;
    decoder->expected.kind = (uint8_t)kind;
    decoder->message = message;
    decoder->room = room;
}

/* Whether the frame belongs to the message under way. A first fragment begins another one: its bytes go where
 * those of the message under way are, which is thereby given up even if the frame turns out to be damaged. */
static int fits(sel_decoder_t *decoder)
{
    const sel_frame_t *frame = &decoder->frame;
    sel_frame_t *expected = &decoder->expected;
    if (frame->fragment == 0 && frame->version == expected->version && frame->kind == expected->kind) {
        *expected = *frame;
        decoder->sequence = frame->sequence;
        decoder->bytes = 0;
    }
    return memcmp(frame, expected, sizeof *frame) == 0;
}

/* Takes decoded bytes of the frame. The CRC's own bytes land behind the payload, where the next fragment or
 * nothing is. */
static void take(sel_decoder_t *decoder, const uint8_t *bytes, uint32_t count)
{
    uint32_t begin, at;
    decoder->crc = sel_crc32(decoder->crc, bytes, count);
    while (count > 0 && decoder->decoded < HEADER_BYTES) {
        ((uint8_t *)&decoder->frame)[decoder->decoded++] = *bytes++;
        count--;
        if (decoder->decoded == HEADER_BYTES && !fits(decoder)) {
            decoder->is_bad = 1;
        }
    }
    begin = decoder->decoded - HEADER_BYTES;
    if (count == 0 || decoder->is_bad) {
        return;
    }
    if (begin + count > SEL_FRAGMENT_BYTES + CRC_BYTES) {
        decoder->is_bad = 1;
        return;
    }
    at = decoder->expected.fragment * SEL_FRAGMENT_BYTES + begin;
    if (at < decoder->room) {
        memcpy(decoder->message + at, bytes, sel_least(count, decoder->room - at));
    }
    decoder->decoded += count;
}

static int is_right(const sel_decoder_t *decoder)
{
    uint32_t payload = decoder->decoded - HEADER_BYTES - CRC_BYTES;
    uint32_t fragment = decoder->expected.fragment, last = decoder->expected.last;
    return !decoder->is_bad && decoder->left == 0 && decoder->crc == CRC_OF_RIGHT_BYTES &&
           decoder->decoded >= HEADER_BYTES + CRC_BYTES && fragment <= last &&
           (fragment == last || payload == SEL_FRAGMENT_BYTES) &&
           fragment * SEL_FRAGMENT_BYTES + payload <= decoder->room;
}

static void end_frame(sel_decoder_t *decoder)
{
    sel_frame_t *expected = &decoder->expected;
    if (decoder->code == 0) {
        return;
    }
    if (!is_right(decoder)) {
        decoder->dropped++;
        return;
    }
    decoder->bytes += decoder->decoded - HEADER_BYTES - CRC_BYTES;
    decoder->has_message = expected->fragment == expected->last;
    expected->fragment = decoder->has_message ? 0 : (uint8_t)(expected->fragment + 1);
}

uint32_t sel_decoder_take(sel_decoder_t *decoder, const uint8_t *bytes, uint32_t count)
{
    static const uint8_t zero = 0;
    uint32_t used = 0;
    decoder->has_message = 0;
    while (used < count && !decoder->has_message) {
        if (bytes[used] == 0) {
            end_frame(decoder);
            await_frame(decoder);
            used++;
        } else if (decoder->left == 0) {
            if (decoder->code != 0 && decoder->code != LONGEST_BLOCK) {
                take(decoder, &zero, 1);
            }
            decoder->code = bytes[used++];
            decoder->left = (uint8_t)(decoder->code - 1);
        } else {
            uint32_t run = sel_least(decoder->left, count - used);
            const uint8_t *end = memchr(bytes + used, 0, run);
            if (end != NULL) {
                run = (uint32_t)(end - (bytes + used));
            }
            take(decoder, bytes + used, run);
            decoder->left = (uint8_t)(decoder->left - run);
            used += run;
        }
    }
    return used;
}

static void write_out(sel_encoder_t *encoder, uint32_t count)
{
    encoder->port->write(encoder->port->context, encoder->piece, count);
    encoder->used -= count;
}

/* Adds a byte to the open block. If there is no room, what comes before that goes out, and it moves to the
 * front. */
static void add(sel_encoder_t *encoder, uint8_t byte)
{
    if (encoder->used == SEL_PIECE_BYTES) {
        write_out(encoder, encoder->code_at);
        memmove(encoder->piece, encoder->piece + encoder->code_at, encoder->used);
        encoder->code_at = 0;
    }
    encoder->piece[encoder->used++] = byte;
}

/* Begins a block with its code, which is not known yet, or with the 0x00 between frames. */
static void open_block(sel_encoder_t *encoder)
{
    encoder->code_at = encoder->used;
    add(encoder, 0);
}

static void close_block(sel_encoder_t *encoder)
{
    encoder->piece[encoder->code_at] = (uint8_t)(encoder->used - encoder->code_at);
    open_block(encoder);
}

static void encode(sel_encoder_t *encoder, const void *data, uint32_t count)
{
    const uint8_t *bytes = data;
    encoder->crc = sel_crc32(encoder->crc, bytes, count);
    for (; count > 0; count--, bytes++) {
        if (*bytes != 0) {
            add(encoder, *bytes);
        }
        if (*bytes == 0 || encoder->used - encoder->code_at == LONGEST_BLOCK) {
            close_block(encoder);
        }
    }
}

static void begin_fragment(sel_encoder_t *encoder)
{
    encoder->in_frame = sel_least(encoder->left, SEL_FRAGMENT_BYTES);
    encoder->crc = 0;
    open_block(encoder);
    encode(encoder, &encoder->frame, sizeof encoder->frame);
}

/* Ends it with a 0x00; everything so far is sent. */
static void end_fragment(sel_encoder_t *encoder)
{
    uint32_t crc = encoder->crc;
    encode(encoder, &crc, sizeof crc);
    close_block(encoder);
    write_out(encoder, encoder->used);
    encoder->frame.fragment++;
}

void sel_encoder_begin(sel_encoder_t *encoder, const sel_port_t *port, sel_kind_t kind, uint16_t sequence,
                       uint32_t bytes)
{
    encoder->port = port;
    encoder->frame.version = SEL_FRAME_VERSION;
    encoder->frame.kind = (uint8_t)kind;
    encoder->frame.sequence = sequence;
    encoder->frame.fragment = 0;
    encoder->frame.last = bytes == 0 ? 0 : (uint8_t)((bytes - 1) / SEL_FRAGMENT_BYTES);
    encoder->left = bytes;
    encoder->used = 0;
    open_block(encoder); /* ends whatever noise the line has carried */
    begin_fragment(encoder);
    if (bytes == 0) {
        end_fragment(encoder);
    }
}

void sel_encoder_put(sel_encoder_t *encoder, const void *data, uint32_t count)
{
    const uint8_t *bytes = data;
    while (count > 0) {
        uint32_t part = sel_least(count, encoder->in_frame);
        encode(encoder, bytes, part);
        bytes += part;
        count -= part;
        encoder->in_frame -= part;
        encoder->left -= part;
        if (encoder->in_frame == 0) {
            end_fragment(encoder);
            if (encoder->left > 0) {
                begin_fragment(encoder);
            }
        }
    }
}
