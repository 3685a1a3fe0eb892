#include "sel_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sel_hmac.h"

#define KEY_AT 8u /* in the key's partition, behind a mark */

enum { IMAGE, AREA_A, AREA_B, KEY, PARTITIONS };

static const uint8_t key_mark[KEY_AT] = "SELKEY 1";

struct sel_host {
    sel_host_options_t options;
    sel_flash_sim_t *flashes[PARTITIONS];
    sel_port_t port;
    sel_board_t board;
    sel_device_t device;
    uint64_t random_state;
    uint32_t uptime_ms;
    uint64_t started_ms; /* when the clock was at 0, since 1970; 0 if nobody said */
    uint8_t wants_restart;
    uint8_t *line; /* sent and not taken yet */
    uint32_t line_bytes, line_room;
};

static const uint8_t *key_partition(const sel_host_t *host)
{
    return sel_flash_sim_port(host->flashes[KEY])->map;
}

static int has_key(void *context)
{
    return memcmp(key_partition(context), key_mark, sizeof key_mark) == 0;
}

static int hmac(void *context, const uint8_t *message, uint32_t bytes, uint8_t mac[32])
{
    if (!has_key(context)) {
        return 1;
    }
    sel_hmac_sha256(key_partition(context) + KEY_AT, SEL_HOST_KEY_BYTES, message, bytes, mac);
    return 0;
}

static int set_key(void *context, const uint8_t key[32])
{
    const sel_host_t *host = context;
    const sel_flash_t *flash = sel_flash_sim_port(host->flashes[KEY]);
    uint8_t record[KEY_AT + SEL_HOST_KEY_BYTES];
    if (has_key(context)) {
        return 1;
    }
    memcpy(record, key_mark, KEY_AT);
    memcpy(record + KEY_AT, key, SEL_HOST_KEY_BYTES);
    return flash->program(flash->context, 0, record, sizeof record);
}

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void fill_random(void *context, uint8_t *bytes, uint32_t count)
{
    sel_host_t *host = context;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)next_random(&host->random_state);
    }
}

static void send(void *context, const uint8_t *bytes, uint32_t count)
{
    sel_host_t *host = context;
    if (host->line_bytes + count > host->line_room) {
        host->line_room = 2 * (host->line_bytes + count);
        host->line = realloc(host->line, host->line_room);
        if (host->line == NULL) {
            abort();
        }
    }
    memcpy(host->line + host->line_bytes, bytes, count);
    host->line_bytes += count;
}

static void set_time(void *context, uint64_t milliseconds)
{
    sel_host_t *host = context;
    host->started_ms = milliseconds - host->uptime_ms;
}

static uint64_t time_ms(void *context)
{
    const sel_host_t *host = context;
    return host->started_ms == 0 ? 0 : host->started_ms + host->uptime_ms;
}

static uint32_t uptime_ms(void *context)
{
    const sel_host_t *host = context;
    return host->uptime_ms;
}

static uint64_t cycles(void *context)
{
    (void)context;
    return (uint64_t)clock();
}

static void ask_restart(void *context)
{
    sel_host_t *host = context;
    host->wants_restart = 1;
}

static void open_port(sel_host_t *host)
{
    sel_port_t *port = &host->port;
    port->context = host;
    memcpy(port->device_id, host->options.device_id, sizeof port->device_id);
    port->hmac = hmac;
    port->has_key = has_key;
    port->set_key = set_key;
    port->random = fill_random;
    port->write = send;
    port->set_time = set_time;
    port->time_ms = time_ms;
    port->uptime_ms = uptime_ms;
    port->cycles = cycles;
    port->reboot = ask_restart;
}

static void *room(uint32_t bytes)
{
    return calloc(bytes > 0 ? bytes : 1, 1);
}

/* Returns 0 if there is not enough memory. */
static int open_memory(sel_host_t *host)
{
    const sel_host_options_t *options = &host->options;
    sel_memory_t *memory = &host->board.memory;
    memory->arena_bytes = options->arena_bytes;
    memory->table_entries = options->table_entries;
    memory->message_bytes = options->message_bytes;
    memory->samples_bytes = options->samples_bytes;
    memory->log_bytes = options->log_bytes;
    memory->arena = room(memory->arena_bytes);
    memory->table = room(memory->table_entries * (uint32_t)sizeof *memory->table);
    memory->message = room(memory->message_bytes);
    memory->samples = room(memory->samples_bytes);
    memory->log = room(memory->log_bytes);
    return memory->arena && memory->table && memory->message && memory->samples && memory->log;
}

static int open_flash(sel_host_t *host, const char *path)
{
    const uint32_t sizes[PARTITIONS] = {host->options.image_bytes, host->options.area_bytes,
                                        host->options.area_bytes, SEL_FLASH_SIM_SECTOR};
    uint32_t offset = 0;
    for (int i = 0; i < PARTITIONS; i++) {
        host->flashes[i] = sel_flash_sim_new(sizes[i], path, offset);
        if (host->flashes[i] == NULL) {
            return 0;
        }
        offset += sizes[i];
    }
    host->board.image = sel_flash_sim_port(host->flashes[IMAGE]);
    host->board.areas[0] = sel_flash_sim_port(host->flashes[AREA_A]);
    host->board.areas[1] = sel_flash_sim_port(host->flashes[AREA_B]);
    return 1;
}

/* Returns 0 if there are none. */
static int seed_random(sel_host_t *host)
{
    FILE *source;
    int is_read;
    host->random_state = host->options.seed;
    if (host->options.seed != 0) {
        return 1;
    }
    source = fopen("/dev/urandom", "rb");
    if (source == NULL) {
        return 0;
    }
    is_read = fread(&host->random_state, sizeof host->random_state, 1, source) == 1;
    (void)fclose(source);
    return is_read;
}

sel_host_t *sel_host_new(const sel_host_options_t *options, const char *path)
{
    sel_host_t *host = calloc(1, sizeof *host);
    if (host == NULL) {
        return NULL;
    }
    host->options = *options;
    host->board.port = &host->port;
    host->board.window = (uint16_t)options->window;
    open_port(host);
    if (!open_memory(host) || !open_flash(host, path) || !seed_random(host)) {
        sel_host_free(host);
        return NULL;
    }
    sel_host_restart(host);
    return host;
}

void sel_host_free(sel_host_t *host)
{
    for (int i = 0; i < PARTITIONS; i++) {
        if (host->flashes[i] != NULL) {
            sel_flash_sim_free(host->flashes[i]);
        }
    }
    free(host->board.memory.arena);
    free(host->board.memory.table);
    free(host->board.memory.message);
    free(host->board.memory.samples);
    free(host->board.memory.log);
    free(host->line);
    free(host);
}

void sel_host_restart(sel_host_t *host)
{
    host->uptime_ms = 0;
    host->started_ms = 0;
    host->wants_restart = 0;
    sel_device_open(&host->device, &host->board);
}

void sel_host_advance(sel_host_t *host, uint32_t milliseconds)
{
    host->uptime_ms += milliseconds;
}

void sel_host_receive(sel_host_t *host, const uint8_t *bytes, uint32_t count)
{
    sel_device_receive(&host->device, bytes, count);
    if (host->wants_restart) {
        sel_host_restart(host);
    }
}

uint32_t sel_host_sent(sel_host_t *host, uint8_t *out, uint32_t room)
{
    uint32_t count = host->line_bytes < room ? host->line_bytes : room;
    if (count > 0) {
        memcpy(out, host->line, count);
        memmove(host->line, host->line + count, host->line_bytes - count);
        host->line_bytes -= count;
    }
    return count;
}

int sel_host_observe(sel_host_t *host, const uint8_t *frame, uint16_t numbers[3])
{
    sel_answer_t answer;
    sel_status_t status = sel_device_observe(&host->device, frame, &answer);
    if (status == SEL_OK) {
        numbers[0] = answer.label;
        numbers[1] = answer.uncertainty;
        numbers[2] = answer.embarrassment;
    }
    return (int)status;
}

void sel_host_set_key(sel_host_t *host, const uint8_t key[SEL_HOST_KEY_BYTES])
{
    const sel_flash_t *flash = sel_flash_sim_port(host->flashes[KEY]);
    (void)flash->erase(flash->context, 0);
    (void)set_key(host, key);
}

sel_flash_sim_t *sel_host_flash(sel_host_t *host, uint32_t number)
{
    return host->flashes[number];
}

const sel_device_t *sel_host_device(const sel_host_t *host)
{
    return &host->device;
}
