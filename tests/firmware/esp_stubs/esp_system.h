/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

void esp_restart(void) __attribute__((__noreturn__));
