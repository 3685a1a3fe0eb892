/* What a call ended in. The first sixteen go over the link as they are (docs/SPEC.md). */
#ifndef SEL_STATUS_H
#define SEL_STATUS_H

typedef enum {
    SEL_OK = 0,
    SEL_UNKNOWN_OPERATION = 1,
    SEL_MALFORMED = 2,
    SEL_BUSY = 3,
    SEL_WRONG_BASE = 4,
    SEL_STALE_COUNTER = 5,
    SEL_WRONG_MAC = 6,
    SEL_FULL = 7,
    SEL_FLASH_FAULT = 8,
    SEL_NO_IMAGE = 9,
    SEL_IMAGE_REFUSED = 10,
    SEL_PAYLOAD_REFUSED = 11,
    SEL_NO_KEY = 12,
    SEL_INCOMPLETE = 13,
    SEL_VERSION = 14,
    SEL_NOTHING_BEFORE = 15
} sel_status_t;

#endif
