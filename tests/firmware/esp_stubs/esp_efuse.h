/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "esp_err.h"

typedef enum { EFUSE_BLK_KEY0 = 4, EFUSE_BLK_KEY5 = 9, EFUSE_BLK_KEY_MAX = 10 } esp_efuse_block_t;
typedef enum { ESP_EFUSE_KEY_PURPOSE_USER = 0, ESP_EFUSE_KEY_PURPOSE_HMAC_UP = 8 } esp_efuse_purpose_t;

bool esp_efuse_find_purpose(esp_efuse_purpose_t purpose, esp_efuse_block_t *block);
esp_efuse_block_t esp_efuse_find_unused_key_block(void);
esp_err_t esp_efuse_write_key(esp_efuse_block_t block, esp_efuse_purpose_t purpose, const void *key,
                              size_t key_size_bytes);
