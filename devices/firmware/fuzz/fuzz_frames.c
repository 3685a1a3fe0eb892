/* The line's bytes: whatever they are, nothing is delivered that was not framed right, and what is framed
 * comes back as it was. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sel_bytes.h"
#include "sel_frames.h"

#define ROOM 3000u
#define LONGEST_LINE (2 * ROOM)
#define EDIT_BYTES 3u
#define MOST_EDITS 8u

typedef struct {
    uint8_t bytes[LONGEST_LINE];
    uint32_t count;
} line_t;

static void carry(void *context, const uint8_t *bytes, uint32_t count)
{
    line_t *line = context;
    sel_fuzz_require(count <= SEL_PIECE_BYTES && line->count + count <= LONGEST_LINE, "a piece is too long");
    memcpy(line->bytes + line->count, bytes, count);
    line->count += count;
}

/* Decodes bytes in pieces of some size with a buffer of exactly `room` bytes. */
static void listen(const uint8_t *bytes, uint32_t count, uint32_t room, uint32_t piece)
{
    sel_decoder_t decoder;
    uint8_t *buffer = malloc(room > 0 ? room : 1);
    sel_decoder_reset(&decoder, SEL_REQUEST, buffer, room);
    while (count > 0) {
        uint32_t part = piece < count ? piece : count;
        uint32_t used = sel_decoder_take(&decoder, bytes, part);
        sel_fuzz_require(used > 0 && used <= part, "the decoder does not move on");
        sel_fuzz_require(!decoder.has_message || decoder.bytes <= room, "a message is too long");
        bytes += used;
        count -= used;
    }
    free(buffer);
}

/* Sends a message over a line that flips bits: u16 offset and u8 of bits for each edit. */
static void send_and_compare(const uint8_t *message, uint32_t count, const uint8_t *edits,
                             uint32_t edit_count)
{
    static line_t line;
    static uint8_t buffer[ROOM];
    sel_port_t port = {0};
    sel_encoder_t encoder;
    sel_decoder_t decoder;
    port.context = &line;
    port.write = carry;
    line.count = 0;
    sel_encoder_begin(&encoder, &port, SEL_REQUEST, (uint16_t)count, count);
    sel_encoder_put(&encoder, message, count);
    for (uint32_t i = 0; i < edit_count; i++) {
        line.bytes[sel_get16(edits + i * EDIT_BYTES) % line.count] ^= edits[i * EDIT_BYTES + 2];
    }
    sel_decoder_reset(&decoder, SEL_REQUEST, buffer, ROOM);
    for (uint32_t at = 0; at < line.count;) {
        at += sel_decoder_take(&decoder, line.bytes + at, line.count - at);
        if (decoder.has_message) {
            int is_right = decoder.bytes == count && memcmp(buffer, message, count) == 0;
            sel_fuzz_refused(is_right, "a damaged message");
        }
    }
    sel_fuzz_require(edit_count > 0 || (decoder.has_message && decoder.dropped == 0), "a message is lost");
}

/* Room and pieces of a listener, edits, and what is both a line and a message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t room, piece, edits, head;
    if (size < 3) {
        return 0;
    }
    room = 16u * data[0];
    piece = 1u + data[1];
    edits = data[2] % MOST_EDITS;
    head = 3 + edits * EDIT_BYTES;
    if (size >= head) {
        uint32_t count = (uint32_t)size - head;
        listen(data + head, count, room, piece);
        send_and_compare(data + head, count < ROOM ? count : ROOM, data + 3, edits);
    }
    return 0;
}
