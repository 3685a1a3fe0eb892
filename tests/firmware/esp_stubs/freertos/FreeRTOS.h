/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

#include <stdint.h>

typedef uint32_t TickType_t;

#define pdMS_TO_TICKS(ms) ((TickType_t)((uint64_t)(ms) * 100 / 1000))
