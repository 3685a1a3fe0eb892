/* CRC-32 as zlib's: reflected, polynomial 0xEDB88320. */
#ifndef SEL_CRC_H
#define SEL_CRC_H

#include <stdint.h>

/* The CRC-32 of what `crc` is that of, followed by these bytes; 0 is the CRC-32 of nothing. */
uint32_t sel_crc32(uint32_t crc, const uint8_t *bytes, uint32_t count);

#endif
