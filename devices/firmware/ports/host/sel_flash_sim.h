/* NOR flash in memory or in a file, whose power can be cut at any operation and inside it.
 *
 * Programs clear bits, within a page of 256 bytes; a sector of 4096 bytes is erased at a time. What a driver
 * of real flash must not do is done all the same, and counted as a violation: to program a byte again with
 * another content, unless it becomes 0; to program anything but 0 where an erase was not finished. To cross a
 * page is one too, and does nothing. */
#ifndef SEL_FLASH_SIM_H
#define SEL_FLASH_SIM_H

#include <stdint.h>

#include "sel_port.h"

#define SEL_FLASH_SIM_SECTOR 4096u

/* The supply of one or several flashes.
 *
 * operations: programs and erases so far.
 * cut_at:     number of the operation, from 1 on, that the power fails in; 0 for none.
 * share:      of a program's bytes that are done by then, in 1/65536: from none to all. The byte after them
 *             has lost some of the bits that it should.
 * scatters:   not 0 if any of the bits of the rest may be cleared, as where a page is programmed all at once.
 * seed:       of these bits; and of what a cut erase leaves.
 * is_off:     set by the cut. Nothing can be done then.
 */
typedef struct {
    uint64_t operations;
    uint64_t cut_at;
    uint32_t share;
    uint32_t scatters;
    uint32_t seed;
    uint32_t is_off;
    uint64_t violations;
} sel_power_t;

typedef struct sel_flash_sim sel_flash_sim_t;

/* Flash of a multiple of the sector size. It is blank, or what the file holds from `offset` on; a file that
 * ends there grows. Returns NULL if there is no memory, or the file cannot be used. */
sel_flash_sim_t *sel_flash_sim_new(uint32_t bytes, const char *path, uint32_t offset);
void sel_flash_sim_free(sel_flash_sim_t *sim);

const sel_flash_t *sel_flash_sim_port(const sel_flash_sim_t *sim);

/* Gives it another supply than one of its own, which never fails. */
void sel_flash_sim_supply(sel_flash_sim_t *sim, sel_power_t *power);

/* Makes one flash what another of the same size is, its supply apart. */
void sel_flash_sim_copy(sel_flash_sim_t *sim, const sel_flash_sim_t *from);

/* How often a sector was erased. */
uint32_t sel_flash_sim_erases(const sel_flash_sim_t *sim, uint32_t sector);

#endif
