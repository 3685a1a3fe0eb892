/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

#include <stdint.h>

int64_t esp_timer_get_time(void);
