/* Partitions as the core sees them: mapped, erased by the block or sector, programmed by the page.
 *
 * A partition of whole blocks is erased by them, which takes a fraction of the time: an image's begin erases
 * all that the image needs, and the host waits for it.
 *
 * What is mapped goes through the cache, which may still hold what was there before a program or an erase
 * (espressif/esp-idf issue 12679), so that it is invalidated after both.
 */
#include <stddef.h>

#include "esp_cache.h"
#include "esp_partition.h"
#include "sel_esp.h"

#define PARTITION_TYPE ((esp_partition_type_t)0x40)
#define BLOCK_BYTES 65536u

typedef struct {
    const esp_partition_t *partition;
    const void *map;
    uint32_t erase_bytes;
} partition_t;

/* Page, sector and block are multiples of a cache line. */
static int refresh(const partition_t *of, uint32_t offset, uint32_t bytes)
{
    void *from = (void *)((uintptr_t)of->map + offset);
    return esp_cache_msync(from, bytes, ESP_CACHE_MSYNC_FLAG_DIR_M2C) != ESP_OK;
}

static int erase(void *context, uint32_t offset)
{
    const partition_t *of = context;
    uint32_t bytes = of->erase_bytes;
    return esp_partition_erase_range(of->partition, offset, bytes) != ESP_OK || refresh(of, offset, bytes);
}

static int program(void *context, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    const partition_t *of = context;
    return esp_partition_write(of->partition, offset, data, bytes) != ESP_OK ||
           refresh(of, offset - offset % SEL_PAGE_BYTES, SEL_PAGE_BYTES);
}

esp_err_t sel_esp_open_flash(const char *label, sel_flash_t *flash)
{
    static partition_t partitions[3];
    static uint32_t used;
    partition_t *of = &partitions[used];
    esp_partition_mmap_handle_t handle; /* mapped for good */
    esp_err_t error;

    of->partition = esp_partition_find_first(PARTITION_TYPE, ESP_PARTITION_SUBTYPE_ANY, label);
    if (of->partition == NULL) {
        return ESP_ERR_NOT_FOUND;
    }
    error = esp_partition_mmap(of->partition, 0, of->partition->size, ESP_PARTITION_MMAP_DATA, &of->map,
                               &handle);
    if (error != ESP_OK) {
        return error;
    }
    used++;
    of->erase_bytes = (of->partition->address | of->partition->size) % BLOCK_BYTES == 0
                          ? BLOCK_BYTES
                          : of->partition->erase_size;
    flash->map = of->map;
    flash->bytes = of->partition->size;
    flash->erase_bytes = of->erase_bytes;
    flash->context = of;
    flash->erase = erase;
    flash->program = program;
    return ESP_OK;
}
