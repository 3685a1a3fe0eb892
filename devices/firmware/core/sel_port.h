/* What the core needs of a board. The core calls these; a port provides them.
 *
 * Nothing is called from an interrupt, and nothing calls back into the core.
 */
#ifndef SEL_PORT_H
#define SEL_PORT_H

#include <stdint.h>

#define SEL_PAGE_BYTES 256u

/* One partition of NOR flash that is mapped into memory.
 *
 * map:         what it holds, readable at any time, 16-byte aligned; up to date when erase or program return.
 * bytes:       a multiple of erase_bytes.
 * erase_bytes: what is erased at a time, 4096 or more, a power of two.
 * erase:       sets erase_bytes bytes from offset on, a multiple of erase_bytes, to 0xFF.
 * program:     clears bits of at most SEL_PAGE_BYTES bytes within one page.
 *
 * Both return 0, or another number if the flash has failed.
 */
typedef struct {
    const uint8_t *map;
    uint32_t bytes;
    uint32_t erase_bytes;
    void *context;
    int (*erase)(void *context, uint32_t offset);
    int (*program)(void *context, uint32_t offset, const uint8_t *data, uint32_t bytes);
} sel_flash_t;

/* The rest of a board.
 *
 * hmac:     HMAC-SHA256 of a message under the device's key; not 0 if there is no key.
 * set_key:  stores the key for good; not 0 if there is one already or none can be set. NULL where the
 *           board never can.
 * write:    sends bytes over the link; returns when they are handed over.
 * set_time: milliseconds since 1970. time_ms tells them, 0 before they were ever set.
 * reboot:   NULL where the board cannot.
 * cycles:   clock cycles, or what comes next to them.
 */
typedef struct {
    void *context;
    uint8_t device_id[8];
    int (*hmac)(void *context, const uint8_t *message, uint32_t bytes, uint8_t mac[32]);
    int (*has_key)(void *context);
    int (*set_key)(void *context, const uint8_t key[32]);
    void (*random)(void *context, uint8_t *bytes, uint32_t count);
    void (*write)(void *context, const uint8_t *bytes, uint32_t count);
    void (*set_time)(void *context, uint64_t milliseconds);
    uint64_t (*time_ms)(void *context);
    uint32_t (*uptime_ms)(void *context);
    uint64_t (*cycles)(void *context);
    void (*reboot)(void *context);
} sel_port_t;

#endif
