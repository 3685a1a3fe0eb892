/* What the fuzzing harnesses share. seeds.h is written by tools/fuzz_firmware.py: two small images, and the
 * payloads of two deltas on the first. */
#ifndef SEL_FUZZ_H
#define SEL_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "sel_net.h"
#include "sel_port.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program with a line that says what is wrong. */
void sel_fuzz_require(int holds, const char *what);

/* The same for what should have been refused; tools/fuzz_firmware.py counts these lines. */
void sel_fuzz_refused(int holds, const char *what);

/* A copy of bytes, alone on the heap, so that the sanitizer sees what is read beside it. */
uint8_t *sel_fuzz_copy(const uint8_t *bytes, size_t count);

/* Flash in memory; `bytes` of it, a multiple of 4096, are blank. */
void sel_fuzz_flash(sel_flash_t *flash, uint8_t *memory, uint32_t bytes);

/* Answers for one input with both kinds of kernels, which must agree; skips networks that take long. */
void sel_fuzz_infer(sel_net_t *net);

/* CRC-32 of the names and of all rows and parameters, wherever they lie. */
uint32_t sel_fuzz_content(const sel_net_t *net);

/* A network of the image in memory that holds no byte too many. Freed by the other. */
void sel_fuzz_net(sel_net_t *net, const sel_image_t *image);
void sel_fuzz_free(sel_net_t *net);

#endif
