/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

#include <stddef.h>

#include "esp_err.h"

#define ESP_CACHE_MSYNC_FLAG_DIR_M2C (1 << 3)

esp_err_t esp_cache_msync(void *addr, size_t size, int flags);
