/* Key, identity and random numbers, in the last sector of the flash, which is never erased:
 *
 *      0  device id, 8 bytes, written where the flash file is made
 *    256  room for keys, a page each: key, "SELK", CRC-32 of both. The first that is right is the key; more
 *         than one page is used only if power went while a key was written.
 *   4096  starts of this board: a byte each, cleared at the start
 *
 * A real board keeps its key where no program can read it; this one stands in for it and does not.
 */
#include <string.h>

#include "sel_board.h"
#include "sel_bytes.h"
#include "sel_crc.h"
#include "sel_hmac.h"

#define KEYS_AT SEL_PAGE_BYTES
#define STARTS_AT 4096u
#define KEY_BYTES 32u
#define MARK_AT KEY_BYTES
#define CRC_AT (MARK_AT + 4)
#define RECORD_BYTES (CRC_AT + 4)
#define MAC_BYTES 32u

typedef struct {
    sel_flash_t flash;
    uint32_t starts;
    uint32_t draws; /* of random numbers since the start */
} settings_t;

static int is_blank(const uint8_t *bytes, uint32_t count)
{
    while (count > 0 && bytes[count - 1] == 0xFF) {
        count--;
    }
    return count == 0;
}

/* The key, or NULL. */
static const uint8_t *find_key(const settings_t *settings)
{
    const uint8_t *map = settings->flash.map;
    for (uint32_t at = KEYS_AT; at < STARTS_AT; at += SEL_PAGE_BYTES) {
        if (memcmp(map + at + MARK_AT, "SELK", 4) == 0 &&
            sel_crc32(0, map + at, CRC_AT) == sel_get32(map + at + CRC_AT)) {
            return map + at;
        }
    }
    return NULL;
}

static int has_key(void *context)
{
    return find_key(context) != NULL;
}

static int set_key(void *context, const uint8_t key[KEY_BYTES])
{
    const settings_t *settings = context;
    const sel_flash_t *flash = &settings->flash;
    uint8_t record[RECORD_BYTES];
    uint32_t at = KEYS_AT;

    while (at < STARTS_AT && !is_blank(flash->map + at, RECORD_BYTES)) {
        at += SEL_PAGE_BYTES;
    }
    if (has_key(context) || at == STARTS_AT) {
        return 1;
    }
    memcpy(record, key, KEY_BYTES);
    memcpy(record + MARK_AT, "SELK", 4);
    sel_put32(record + CRC_AT, sel_crc32(0, record, CRC_AT));
    return flash->program(flash->context, at, record, sizeof record);
}

static int hmac(void *context, const uint8_t *message, uint32_t bytes, uint8_t mac[MAC_BYTES])
{
    const uint8_t *key = find_key(context);
    if (key == NULL) {
        return 1;
    }
    sel_hmac_sha256(key, KEY_BYTES, message, bytes, mac);
    return 0;
}

/* There is no source of noise. No number comes twice, because no two draws have the same message; they can be
 * foretold by whoever knows the key, and by anyone as long as there is none. */
static void fill_random(void *context, uint8_t *bytes, uint32_t count)
{
    static const uint8_t no_key[KEY_BYTES];
    settings_t *settings = context;
    uint8_t message[32] = "sel-edge random ", mac[MAC_BYTES];
    const uint8_t *key = find_key(settings);

    sel_put32(message + 16, settings->starts);
    sel_put64(message + 24, sel_clock_us());
    while (count > 0) {
        uint32_t piece = count < MAC_BYTES ? count : MAC_BYTES;
        sel_put32(message + 20, settings->draws++);
        sel_hmac_sha256(key == NULL ? no_key : key, KEY_BYTES, message, sizeof message, mac);
        memcpy(bytes, mac, piece);
        bytes += piece;
        count -= piece;
    }
}

/* Counts this start: a byte is cleared for each. After 258,048 of them the clock alone tells draws apart. */
static uint32_t count_start(const sel_flash_t *flash)
{
    const uint8_t spent = 0;
    uint32_t at = STARTS_AT;

    while (at < flash->bytes && flash->map[at] != 0xFF) {
        at++;
    }
    if (at < flash->bytes) {
        (void)flash->program(flash->context, at, &spent, 1);
    }
    return at - STARTS_AT;
}

void sel_settings_open(sel_port_t *port)
{
    static settings_t settings;

    settings.flash = sel_pflash(SEL_PART_SETTINGS);
    settings.starts = count_start(&settings.flash);
    memcpy(port->device_id, settings.flash.map, sizeof port->device_id);
    port->context = &settings;
    port->has_key = has_key;
    port->set_key = set_key;
    port->hmac = hmac;
    port->random = fill_random;
}
