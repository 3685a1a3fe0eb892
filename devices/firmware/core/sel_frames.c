#include "sel_frames.h"

#include <string.h>

#include "sel_bytes.h"
#include "sel_crc.h"

#define CRC_BYTES 4u
#define LONGEST_BLOCK 0xFFu
/* CRC-32 of any bytes and their own CRC-32 after them. */
#define CRC_OF_RIGHT_BYTES 0x2144DF1Cu

enum { VERSION_AT = 0, KIND_AT = 1, SEQUENCE_AT = 2, FRAGMENT_AT = 4, LAST_AT = 5 };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

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
    decoder->kind = (uint8_t)kind;
    decoder->message = message;
    decoder->room = room;
    await_frame(decoder);
}

/* Whether the frame belongs to the message under way. A first fragment begins another one: its bytes go where
 * those of the message under way are, which is thereby given up even if the frame turns out to be damaged. */
static int fits(sel_decoder_t *decoder)
{
    const uint8_t *header = decoder->header;
    if (header[VERSION_AT] != SEL_FRAME_VERSION || header[KIND_AT] != decoder->kind) {
        return 0;
    }
    if (header[FRAGMENT_AT] == 0) {
        decoder->next = 0;
        decoder->bytes = 0;
        decoder->sequence = sel_get16(header + SEQUENCE_AT);
        decoder->last = header[LAST_AT];
        return 1;
    }
    return header[FRAGMENT_AT] == decoder->next && header[LAST_AT] == decoder->last &&
           sel_get16(header + SEQUENCE_AT) == decoder->sequence;
}

/* Takes decoded bytes of the frame. The CRC's own bytes land behind the payload, where the next fragment or
 * nothing is. */
static void take(sel_decoder_t *decoder, const uint8_t *bytes, uint32_t count)
{
    uint32_t begin, at;
    decoder->crc = sel_crc32(decoder->crc, bytes, count);
    while (count > 0 && decoder->decoded < SEL_FRAME_HEADER_BYTES) {
        decoder->header[decoder->decoded++] = *bytes++;
        count--;
        if (decoder->decoded == SEL_FRAME_HEADER_BYTES && !fits(decoder)) {
            decoder->is_bad = 1;
        }
    }
    begin = decoder->decoded - SEL_FRAME_HEADER_BYTES;
    if (count == 0 || decoder->is_bad) {
        return;
    }
    if (begin + count > SEL_FRAGMENT_BYTES + CRC_BYTES) {
        decoder->is_bad = 1;
        return;
    }
    at = decoder->next * SEL_FRAGMENT_BYTES + begin;
    if (at < decoder->room) {
        memcpy(decoder->message + at, bytes, least(count, decoder->room - at));
    }
    decoder->decoded += count;
}

static int is_right(const sel_decoder_t *decoder)
{
    uint32_t payload = decoder->decoded - SEL_FRAME_HEADER_BYTES - CRC_BYTES;
    return !decoder->is_bad && decoder->left == 0 && decoder->crc == CRC_OF_RIGHT_BYTES &&
           decoder->decoded >= SEL_FRAME_HEADER_BYTES + CRC_BYTES && decoder->next <= decoder->last &&
           (decoder->next == decoder->last || payload == SEL_FRAGMENT_BYTES) &&
           decoder->next * SEL_FRAGMENT_BYTES + payload <= decoder->room;
}

static void end_frame(sel_decoder_t *decoder)
{
    if (decoder->code == 0) {
        return;
    }
    if (!is_right(decoder)) {
        decoder->dropped++;
        return;
    }
    decoder->bytes += decoder->decoded - SEL_FRAME_HEADER_BYTES - CRC_BYTES;
    decoder->has_message = decoder->next == decoder->last;
    decoder->next = decoder->has_message ? 0 : (uint8_t)(decoder->next + 1);
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
            uint32_t run = least(decoder->left, count - used);
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

/* Makes room for one more byte: what is encoded already goes out, the open block moves to the front. */
static void make_room(sel_encoder_t *encoder)
{
    if (encoder->used == SEL_PIECE_BYTES) {
        encoder->port->write(encoder->port->context, encoder->piece, encoder->code_at);
        encoder->used -= encoder->code_at;
        memmove(encoder->piece, encoder->piece + encoder->code_at, encoder->used);
        encoder->code_at = 0;
    }
}

static void open_block(sel_encoder_t *encoder)
{
    encoder->code_at = encoder->used;
    make_room(encoder);
    encoder->used++;
}

static void close_block(sel_encoder_t *encoder)
{
    encoder->piece[encoder->code_at] = (uint8_t)(encoder->used - encoder->code_at);
}

static void encode(sel_encoder_t *encoder, const uint8_t *bytes, uint32_t count)
{
    encoder->crc = sel_crc32(encoder->crc, bytes, count);
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[i] != 0) {
            make_room(encoder);
            encoder->piece[encoder->used++] = bytes[i];
        }
        if (bytes[i] == 0 || encoder->used - encoder->code_at == LONGEST_BLOCK) {
            close_block(encoder);
            open_block(encoder);
        }
    }
}

/* A 0x00 between frames; everything before it is sent. */
static void delimit(sel_encoder_t *encoder)
{
    encoder->code_at = encoder->used;
    make_room(encoder);
    encoder->piece[encoder->used++] = 0;
    encoder->port->write(encoder->port->context, encoder->piece, encoder->used);
    encoder->used = 0;
}

static void begin_frame(sel_encoder_t *encoder)
{
    uint8_t header[SEL_FRAME_HEADER_BYTES];
    header[VERSION_AT] = SEL_FRAME_VERSION;
    header[KIND_AT] = encoder->kind;
    sel_put16(header + SEQUENCE_AT, encoder->sequence);
    header[FRAGMENT_AT] = encoder->fragment;
    header[LAST_AT] = encoder->last;
    encoder->in_frame = least(encoder->left, SEL_FRAGMENT_BYTES);
    encoder->crc = 0;
    open_block(encoder);
    encode(encoder, header, sizeof header);
}

static void end_frame_sent(sel_encoder_t *encoder)
{
    uint8_t crc[CRC_BYTES];
    sel_put32(crc, encoder->crc);
    encode(encoder, crc, sizeof crc);
    close_block(encoder);
    delimit(encoder);
    encoder->fragment++;
}

void sel_encoder_begin(sel_encoder_t *encoder, const sel_port_t *port, sel_kind_t kind, uint16_t sequence,
                       uint32_t bytes)
{
    encoder->port = port;
    encoder->kind = (uint8_t)kind;
    encoder->sequence = sequence;
    encoder->fragment = 0;
    encoder->last = bytes == 0 ? 0 : (uint8_t)((bytes - 1) / SEL_FRAGMENT_BYTES);
    encoder->left = bytes;
    encoder->used = 0;
    encoder->piece[encoder->used++] = 0; /* ends whatever noise the line has carried */
    begin_frame(encoder);
    if (bytes == 0) {
        end_frame_sent(encoder);
    }
}

void sel_encoder_put(sel_encoder_t *encoder, const uint8_t *bytes, uint32_t count)
{
    while (count > 0) {
        uint32_t part = least(count, encoder->in_frame);
        encode(encoder, bytes, part);
        bytes += part;
        count -= part;
        encoder->in_frame -= part;
        encoder->left -= part;
        if (encoder->in_frame == 0) {
            end_frame_sent(encoder);
            if (encoder->left > 0) {
                begin_frame(encoder);
            }
        }
    }
}
