#include "fuzz_board.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sel_hmac.h"

#define PARTITIONS 3u
#define PARTITION_BYTES 8192u
#define ALIGNMENT 16u
#define ARENA_BYTES 8192u
#define TABLE_ENTRIES 64u
#define QUEUE_BYTES 600u
#define LOG_BYTES 200u
#define ANSWER_BYTES 4096u
#define PIECE_BYTES 97u
#define LABEL_BYTES 16u

static const uint8_t key[] = "the key of a board that is fuzzed";

static sel_device_t device;
static sel_flash_t flashes[PARTITIONS];
static uint8_t *memories[PARTITIONS];
static uint8_t kept[PARTITIONS][PARTITION_BYTES];
static uint32_t randoms, clock_ms;
static uint16_t sequence;
static int wants_restart, last_status;
static sel_decoder_t host;
static uint8_t answer[ANSWER_BYTES];

static int hmac(void *context, const uint8_t *message, uint32_t bytes, uint8_t mac[32])
{
    (void)context;
    sel_hmac_sha256(key, sizeof key, message, bytes, mac);
    return 0;
}

static int has_key(void *context)
{
    (void)context;
    return 1;
}

static int set_key(void *context, const uint8_t other[32])
{
    (void)context;
    (void)other;
    return 1;
}

static void fill_random(void *context, uint8_t *bytes, uint32_t count)
{
    (void)context;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(randoms++ * 2654435761u >> 24);
    }
}

static void hear(void *context, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    while (count > 0) {
        uint32_t used = sel_decoder_take(&host, bytes, count);
        bytes += used;
        count -= used;
        if (host.has_message) {
            sel_fuzz_require(host.bytes >= 2, "an answer has no status");
            last_status = host.message[1];
        }
    }
    sel_fuzz_require(host.dropped == 0, "the board sent what is no frame");
}

static void set_time(void *context, uint64_t milliseconds)
{
    (void)context;
    clock_ms += (uint32_t)milliseconds;
}

static uint64_t time_ms(void *context)
{
    (void)context;
    return clock_ms;
}

static uint32_t uptime_ms(void *context)
{
    (void)context;
    return clock_ms++;
}

static void ask_restart(void *context)
{
    (void)context;
    wants_restart = 1;
}

static const sel_port_t port = {
    .device_id = "fuzzing",
    .hmac = hmac,
    .has_key = has_key,
    .set_key = set_key,
    .random = fill_random,
    .write = hear,
    .set_time = set_time,
    .time_ms = time_ms,
    .uptime_ms = uptime_ms,
    .cycles = time_ms,
    .reboot = ask_restart,
};

static sel_board_t board = {&port, &flashes[0], {&flashes[1], &flashes[2]}, {0}, 4};

/* Every buffer is alone on the heap, so that the sanitizer sees what is written beside it. */
static void make_buffers(void)
{
    sel_memory_t *memory = &board.memory;
    memory->arena_bytes = ARENA_BYTES;
    memory->table_entries = TABLE_ENTRIES;
    memory->message_bytes = FUZZ_MESSAGE_BYTES;
    memory->samples_bytes = QUEUE_BYTES;
    memory->log_bytes = LOG_BYTES;
    memory->arena = malloc(ARENA_BYTES);
    memory->table = malloc(TABLE_ENTRIES * sizeof *memory->table);
    memory->message = malloc(FUZZ_MESSAGE_BYTES);
    memory->samples = malloc(QUEUE_BYTES);
    memory->log = malloc(LOG_BYTES);
    sel_fuzz_require(memory->arena && memory->table && memory->message && memory->samples && memory->log,
                     "no memory");
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        memories[i] = malloc(PARTITION_BYTES);
        sel_fuzz_require(memories[i] != NULL && (uintptr_t)memories[i] % ALIGNMENT == 0, "no memory");
        sel_fuzz_flash(&flashes[i], memories[i], PARTITION_BYTES);
    }
}

const sel_device_t *fuzz_board_start(int is_blank)
{
    if (board.memory.arena == NULL) {
        make_buffers();
    }
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        if (is_blank) {
            memset(memories[i], 0xFF, PARTITION_BYTES);
        } else {
            memcpy(memories[i], kept[i], PARTITION_BYTES);
        }
    }
    randoms = 0;
    clock_ms = 0;
    sequence = 0;
    fuzz_board_restart();
    return &device;
}

void fuzz_board_keep(void)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        memcpy(kept[i], memories[i], PARTITION_BYTES);
    }
}

void fuzz_board_restart(void)
{
    wants_restart = 0;
    sel_decoder_reset(&host, SEL_RESPONSE, answer, sizeof answer);
    sel_device_open(&device, &board);
}

typedef struct {
    uint8_t *bytes;
    uint32_t count;
} line_t;

static void carry(void *context, const uint8_t *bytes, uint32_t count)
{
    line_t *line = context;
    sel_fuzz_require(line->count + count <= FUZZ_LINE_BYTES, "a line is too long");
    memcpy(line->bytes + line->count, bytes, count);
    line->count += count;
}

uint32_t fuzz_board_frame(const uint8_t *message, uint32_t count, uint8_t *bytes)
{
    line_t line = {bytes, 0};
    sel_port_t towards = {0};
    sel_encoder_t encoder;
    towards.context = &line;
    towards.write = carry;
    sel_encoder_begin(&encoder, &towards, SEL_REQUEST, sequence++, count);
    sel_encoder_put(&encoder, message, count);
    return line.count;
}

int fuzz_board_send(const uint8_t *line, uint32_t count)
{
    last_status = -1;
    while (count > 0) {
        uint32_t part = count < PIECE_BYTES ? count : PIECE_BYTES;
        sel_device_receive(&device, line, part);
        line += part;
        count -= part;
    }
    if (wants_restart) {
        fuzz_board_restart();
    }
    return last_status;
}

void fuzz_board_mac(const char *label, const uint8_t *content, uint32_t count, uint8_t mac[SEL_MAC_BYTES])
{
    uint8_t message[LABEL_BYTES + SEL_NONCE_BYTES + FUZZ_MESSAGE_BYTES];
    memcpy(message, label, LABEL_BYTES);
    memcpy(message + LABEL_BYTES, device.nonce, SEL_NONCE_BYTES);
    memcpy(message + LABEL_BYTES + SEL_NONCE_BYTES, content, count);
    (void)hmac(NULL, message, LABEL_BYTES + SEL_NONCE_BYTES + count, mac);
}
