/* What the overlay and the image partition are made of in flash (docs/SPEC.md): programmed bytes, commit
 * records, area headers and segments. */
#ifndef SEL_AREA_H
#define SEL_AREA_H

#include <stdint.h>

#include "sel_port.h"

#define SEL_COMMIT_BYTES 44u
#define SEL_SEGMENTS_AT 256u
#define SEL_BLANK 0xFFu

typedef enum { SEL_DELTA = 1, SEL_SNAPSHOT = 2, SEL_ROLLBACK = 3 } sel_segment_kind_t;

/* Of a manifest, which is a segment's header. */
#define SEL_MANIFEST_KIND 6u
#define SEL_MANIFEST_PAYLOAD 8u
#define SEL_MANIFEST_DEPTH 12u
#define SEL_MANIFEST_COUNTER 16u
#define SEL_MANIFEST_CRC 28u
#define SEL_MANIFEST_BEFORE 32u
#define SEL_MANIFEST_AFTER 64u
#define SEL_MANIFEST_SHA 96u

/* What an area's header says. */
typedef struct {
    uint32_t sequence;
    uint32_t erases;
    uint64_t least_counter;
    const uint8_t *image_hash;
} sel_area_t;

int sel_flash_is_blank(const sel_flash_t *flash, uint32_t offset, uint32_t bytes);

/* Whether programming would leave these bytes there: no bit has to be set. */
int sel_flash_can_take(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes);

/* Programs bytes, which are not in this flash, page by page; pages that are right already are left alone.
 * What the map shows decides, as it will at the next start: returns 0 if the bytes are there. */
int sel_flash_put(const sel_flash_t *flash, uint32_t offset, const uint8_t *data, uint32_t bytes);

/* Overwrites the record at 0, an area's or an image's, with zeros, unless it is blank. */
int sel_flash_invalidate(const sel_flash_t *flash);

/* Does that, then erases so many bytes from the first sector on. */
int sel_flash_clear(const sel_flash_t *flash, uint32_t bytes);

/* The commit record of what has this hash. */
int sel_commit_is_right(const uint8_t *at, const uint8_t hash[32]);
int sel_commit_put(const sel_flash_t *flash, uint32_t offset, const uint8_t hash[32]);

/* Reads an area's header; 0 if it is not right. */
int sel_area_read(const sel_flash_t *flash, sel_area_t *area);
int sel_area_put(const sel_flash_t *flash, const sel_area_t *area);

/* The greatest counter that was ever committed in an area whose header is right. */
uint64_t sel_area_counter(const sel_flash_t *flash, const sel_area_t *area);

/* Whether a manifest keeps the rules of its kind, by itself. */
int sel_manifest_is_right(const uint8_t *manifest);
void sel_manifest_seal(uint8_t *manifest); /* writes what all manifests have in common, and the CRC */

/* Bytes that a segment takes in an area. */
uint32_t sel_segment_bytes(const uint8_t *manifest);

/* Of the segment at an offset: whether its header is right and it ends within the area; whether it was
 * committed; whether the payload is what the header says. */
int sel_segment_is_right(const sel_flash_t *flash, uint32_t at);
int sel_segment_is_committed(const sel_flash_t *flash, uint32_t at);
int sel_segment_is_whole(const sel_flash_t *flash, uint32_t at);
int sel_segment_commit(const sel_flash_t *flash, uint32_t at);

#endif
