/* What the overlay and the image partition are made of in flash (docs/SPEC.md): programmed bytes, records,
 * area headers and segments. */
#ifndef SEL_AREA_H
#define SEL_AREA_H

#include <stdint.h>

#include "sel_bytes.h"
#include "sel_port.h"
#include "sel_sha256.h"
#include "sel_status.h"

#define SEL_SEGMENTS_AT 256u
#define SEL_CHUNK_BYTES 1024u
#define SEL_TO_IMAGE 0xFFFFFFFFu

/* Records: a mark and a version, the content, and in the last 4 bytes the CRC-32 of all before. */
#define SEL_AREA_MARK 0x414C4553u   /* SELA */
#define SEL_COMMIT_MARK 0x434C4553u /* SELC */
#define SEL_IMAGE_MARK 0x494C4553u  /* SELI */
#define SEL_RECORD_VERSION 1u       /* of a commit record 0 */

/* The header of an area. */
typedef struct {
    uint32_t mark, version;
    uint32_t sequence, erases;
    sel_u64_t least_counter;
    uint8_t image_hash[SEL_HASH_BYTES];
    uint32_t crc;
} sel_area_t;
SEL_LIES_AS(sel_area_t, 60);

/* That a segment, or the image, is complete. */
typedef struct {
    uint32_t mark, version;
    uint8_t hash[SEL_HASH_BYTES];
    uint32_t crc;
} sel_commit_t;
SEL_LIES_AS(sel_commit_t, 44);

typedef enum { SEL_DELTA = 1, SEL_SNAPSHOT = 2, SEL_ROLLBACK = 3 } sel_segment_kind_t;

/* A manifest, which is a segment's header. What follows of the segment is found from where it lies. */
typedef struct {
    uint32_t mark;
    uint16_t version, kind;
    uint32_t bytes; /* of the payload */
    uint32_t depth;
    sel_u64_t counter;
    uint32_t zero;
    uint32_t crc; /* of all the rest */
    uint8_t before[SEL_HASH_BYTES], after[SEL_HASH_BYTES];
    uint8_t payload_hash[SEL_HASH_BYTES];
} sel_manifest_t;
SEL_LIES_AS(sel_manifest_t, 128);

/* Where bytes arrive in flash, chunk by chunk; bytes 0 for nowhere. */
typedef struct {
    const sel_flash_t *flash;
    uint32_t at, bytes;
    uint32_t is_final; /* nothing there may be changed any more */
} sel_place_t;

/* The CRC-32 of a chunk as it stands there. */
uint32_t sel_place_chunk(const sel_place_t *place, uint32_t number);

/* Writes a chunk; writing it again changes nothing. SEL_INCOMPLETE if there is no place, or if it may not or
 * cannot be written over what is there. */
sel_status_t sel_place_write(const sel_place_t *place, uint32_t offset, const uint8_t *data, uint32_t bytes);

int sel_flash_is_blank(const sel_flash_t *flash, uint32_t offset, uint32_t bytes);

/* Programs bytes, which are not in this flash, page by page; pages that are right already are left alone.
 * What the map shows decides, as it will at the next start: returns 0 if the bytes are there. */
int sel_flash_put(const sel_flash_t *flash, uint32_t offset, const void *data, uint32_t bytes);

/* Overwrites the record at 0, an area's or an image's, with zeros, unless it is blank. */
int sel_flash_invalidate(const sel_flash_t *flash);

/* Does that, then erases so many bytes from the first sector on. */
int sel_flash_clear(const sel_flash_t *flash, uint32_t bytes);

int sel_record_is_right(const void *record, uint32_t mark, uint32_t version, uint32_t bytes);

/* Programs a record, whose CRC it finds. */
int sel_record_put(const sel_flash_t *flash, uint32_t offset, void *record, uint32_t bytes);

/* The commit record of what has this hash. */
int sel_commit_is_right(const sel_commit_t *commit, const uint8_t hash[SEL_HASH_BYTES]);
int sel_commit_put(const sel_flash_t *flash, uint32_t offset, const uint8_t hash[SEL_HASH_BYTES]);

/* An area's header; NULL if it is not right. */
const sel_area_t *sel_area(const sel_flash_t *flash);

/* The greatest counter that was ever committed in an area whose header is right. */
uint64_t sel_area_counter(const sel_flash_t *flash);

/* Whether a manifest keeps the rules of its kind, by itself. */
int sel_manifest_is_right(const sel_manifest_t *manifest);
void sel_manifest_seal(sel_manifest_t *manifest); /* writes what all manifests have in common, and the CRC */

/* Bytes that a segment takes in an area. */
uint32_t sel_segment_bytes(const sel_manifest_t *manifest);

/* The rest is of segments where they lie. */
static inline const sel_manifest_t *sel_segment_at(const sel_flash_t *flash, uint32_t at)
{
    return (const sel_manifest_t *)(const void *)(flash->map + at);
}

static inline const uint8_t *sel_segment_payload(const sel_manifest_t *segment)
{
    return (const uint8_t *)segment + SEL_PAGE_BYTES;
}

/* Whether the header is right and the segment ends within the area; whether it was committed; whether the
 * payload is what the header says. */
int sel_segment_is_right(const sel_flash_t *flash, uint32_t at);
int sel_segment_is_committed(const sel_manifest_t *segment);
int sel_segment_is_whole(const sel_manifest_t *segment);
int sel_segment_commit(const sel_flash_t *flash, const sel_manifest_t *segment);

#endif
