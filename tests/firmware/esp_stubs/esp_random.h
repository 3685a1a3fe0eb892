/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

#include <stddef.h>

void esp_fill_random(void *buf, size_t len);
