/* Flash chip 1 of the machine at 0x22000000: 32 MB in blocks of 256 KB, two 16-bit chips side by side with
 * the Intel command set (CFI command set 1). It reads as memory until it gets a command, and again after
 * READ_ARRAY; it has got that whenever a function of this file returns.
 *
 * The emulated chip can set bits as well as clear them. A real one cannot, so neither can this driver.
 */
#include <string.h>

#include "sel_board.h"

#define CHIP 0x22000000u
#define BLOCK_BYTES (1u << 18)
#define PAGE_WORDS (SEL_PAGE_BYTES / 4)

/* Commands and status, the same for both chips. */
#define READ_ARRAY 0x00FF00FFu
#define CLEAR_STATUS 0x00500050u
#define ERASE 0x00200020u
#define WRITE_BUFFER 0x00E800E8u
#define CONFIRM 0x00D000D0u
#define READY 0x00800080u
#define FAILED 0x003A003Au

static const struct {
    uint32_t offset, bytes;
} partitions[] = {
    [SEL_PART_IMAGE] = {0, SEL_IMAGE_PARTITION_BYTES},
    [SEL_PART_AREA_A] = {18u << 20, SEL_OVERLAY_AREA_BYTES},
    [SEL_PART_AREA_B] = {20u << 20, SEL_OVERLAY_AREA_BYTES},
    [SEL_PART_SETTINGS] = {(32u << 20) - SEL_SETTINGS_BYTES, SEL_SETTINGS_BYTES},
};

/* Waits for the chips and leaves them readable; not 0 if they failed. */
static int finish(volatile uint32_t *at)
{
    uint32_t status;
    do {
        status = *at;
    } while ((status & READY) != READY);
    *at = CLEAR_STATUS;
    *at = READ_ARRAY;
    return (status & FAILED) != 0;
}

static int erase(void *context, uint32_t offset)
{
    volatile uint32_t *at = (volatile uint32_t *)((uintptr_t)context + offset);
    *at = ERASE;
    *at = CONFIRM;
    return finish(at);
}

static int program(void *context, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    uint32_t before = offset % 4, count = (before + bytes + 3) / 4;
    volatile uint32_t *at = (volatile uint32_t *)((uintptr_t)context + offset - before);
    uint32_t words[PAGE_WORDS];
    uint8_t *wanted = (uint8_t *)words;

    memset(words, 0xFF, sizeof words);
    memcpy(wanted + before, data, bytes);
    for (uint32_t i = 0; i < count; i++) {
        words[i] &= at[i];
    }
    *at = WRITE_BUFFER;
    *at = (count - 1) * 0x00010001u;
    for (uint32_t i = 0; i < count; i++) {
        at[i] = words[i];
    }
    *at = CONFIRM;
    return finish(at);
}

sel_flash_t sel_pflash(sel_partition_t partition)
{
    uintptr_t base = CHIP + partitions[partition].offset;
    sel_flash_t flash = {(const uint8_t *)base, partitions[partition].bytes, BLOCK_BYTES, (void *)base, erase,
                         program};
    return flash;
}
