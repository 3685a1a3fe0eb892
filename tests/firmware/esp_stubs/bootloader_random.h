/* ESP-IDF as its documentation declares it, as far as the port uses it. */
#pragma once

void bootloader_random_enable(void);
void bootloader_random_disable(void);
