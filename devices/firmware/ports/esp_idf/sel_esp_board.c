/* Everything of the board but flash and line: key, random numbers, clock, identity, memory. */
#include <stddef.h>

#include "bootloader_random.h"
#include "esp_efuse.h"
#include "esp_hmac.h"
#include "esp_mac.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "sdkconfig.h"
#include "sel_esp.h"

static uint64_t started_ms; /* when the clock was at 0, in milliseconds since 1970; 0 if nobody said */

static int has_key(void *context)
{
    (void)context;
    return esp_efuse_find_purpose(ESP_EFUSE_KEY_PURPOSE_HMAC_UP, NULL);
}

/* The peripheral reads the key from the eFuse block; no program can. */
static int hmac(void *context, const uint8_t *message, uint32_t bytes, uint8_t mac[32])
{
    esp_efuse_block_t block;

    (void)context;
    if (!esp_efuse_find_purpose(ESP_EFUSE_KEY_PURPOSE_HMAC_UP, &block)) {
        return 1;
    }
    return esp_hmac_calculate((hmac_key_id_t)(block - EFUSE_BLK_KEY0), message, bytes, mac) != ESP_OK;
}

#if CONFIG_SEL_EDGE_BURN_KEY
static int set_key(void *context, const uint8_t key[32])
{
    esp_efuse_block_t block = esp_efuse_find_unused_key_block();

    if (has_key(context) || block == EFUSE_BLK_KEY_MAX) {
        return 1;
    }
    return esp_efuse_write_key(block, ESP_EFUSE_KEY_PURPOSE_HMAC_UP, key, 32) != ESP_OK;
}
#endif

static void fill_random(void *context, uint8_t *bytes, uint32_t count)
{
    (void)context;
#if CONFIG_SEL_EDGE_ENTROPY_FROM_ADC
    bootloader_random_enable();
#endif
    esp_fill_random(bytes, count);
#if CONFIG_SEL_EDGE_ENTROPY_FROM_ADC
    bootloader_random_disable();
#endif
}

static uint64_t clock_us(void)
{
    return (uint64_t)esp_timer_get_time();
}

static uint32_t uptime_ms(void *context)
{
    (void)context;
    return (uint32_t)(clock_us() / 1000);
}

static void set_time(void *context, uint64_t milliseconds)
{
    (void)context;
    started_ms = milliseconds - clock_us() / 1000;
}

static uint64_t time_ms(void *context)
{
    (void)context;
    return started_ms ? started_ms + clock_us() / 1000 : 0;
}

/* The core's own counter has 32 bits, and an inference may take longer than they last. */
static uint64_t cycles(void *context)
{
    (void)context;
    return clock_us() * CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ;
}

static void reboot(void *context)
{
    (void)context;
    sel_esp_flush_link();
    esp_restart();
}

static const sel_port_t *open_port(void)
{
    static sel_port_t port = {
        .hmac = hmac,
        .has_key = has_key,
#if CONFIG_SEL_EDGE_BURN_KEY
        .set_key = set_key,
#endif
        .random = fill_random,
        .write = sel_esp_write,
        .set_time = set_time,
        .time_ms = time_ms,
        .uptime_ms = uptime_ms,
        .cycles = cycles,
        .reboot = reboot,
    };
    /* 6 bytes; the rest stays 0 */
    return esp_efuse_mac_get_default(port.device_id) == ESP_OK ? &port : NULL;
}

static void open_memory(sel_memory_t *memory)
{
    static uint32_t arena[CONFIG_SEL_EDGE_ARENA_BYTES / 4];
    static sel_channel_t table[CONFIG_SEL_EDGE_TABLE_ENTRIES];
    static uint8_t message[CONFIG_SEL_EDGE_MESSAGE_BYTES];
    static uint8_t samples[CONFIG_SEL_EDGE_SAMPLES_BYTES];
    static uint8_t log[CONFIG_SEL_EDGE_LOG_BYTES];

    memory->arena = (uint8_t *)arena;
    memory->arena_bytes = sizeof arena;
    memory->table = table;
    memory->table_entries = CONFIG_SEL_EDGE_TABLE_ENTRIES;
    memory->message = message;
    memory->message_bytes = sizeof message;
    memory->samples = samples;
    memory->samples_bytes = sizeof samples;
    memory->log = log;
    memory->log_bytes = sizeof log;
}

esp_err_t sel_esp_open(sel_board_t *board)
{
    static const char *const labels[3] = {"sel_image", "sel_area_a", "sel_area_b"};
    static sel_flash_t flashes[3];
    esp_err_t error = ESP_OK;

    for (int i = 0; i < 3 && error == ESP_OK; i++) {
        error = sel_esp_open_flash(labels[i], &flashes[i]);
    }
    if (error == ESP_OK) {
        error = sel_esp_open_link();
    }
    if (error != ESP_OK) {
        return error;
    }
    board->port = open_port();
    board->image = &flashes[0];
    board->areas[0] = &flashes[1];
    board->areas[1] = &flashes[2];
    board->window = SEL_ESP_WINDOW;
    open_memory(&board->memory);
    return board->port ? ESP_OK : ESP_FAIL;
}
