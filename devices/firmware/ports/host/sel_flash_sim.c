#define _POSIX_C_SOURCE 200809L

#include "sel_flash_sim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a byte was last programmed with, or: */
#define BLANK 0x100u
#define HALF_ERASED 0x101u

struct sel_flash_sim {
    sel_flash_t flash;
    sel_power_t *power;
    sel_power_t own_power;
    uint8_t *bytes;
    uint16_t *written;
    uint32_t *erases;
    int is_file;
};

/* xorshift32 (Marsaglia 2003) */
static uint8_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (uint8_t)(*state >> 11);
}

static uint32_t random_start(const sel_power_t *power)
{
    return (power->seed * 2654435761u) | 1u;
}

/* Counts an operation; whether it is the one in which the power fails. */
static int fails_now(sel_power_t *power)
{
    power->operations++;
    power->is_off = power->operations == power->cut_at;
    return power->is_off != 0;
}

static int is_violation(const sel_flash_sim_t *sim, uint32_t at, uint8_t byte)
{
    uint16_t written = sim->written[at];
    return (byte != 0 && written != BLANK && written != byte) || (sim->bytes[at] & byte) != byte;
}

static int program(void *context, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    sel_flash_sim_t *sim = context;
    sel_power_t *power = sim->power;
    uint32_t random = random_start(power), whole = bytes;
    if (power->is_off) {
        return 1;
    }
    if (bytes == 0 || bytes > SEL_PAGE_BYTES - offset % SEL_PAGE_BYTES || offset >= sim->flash.bytes) {
        power->violations++;
        return 1;
    }
    if (fails_now(power)) {
        whole = (uint32_t)(((uint64_t)power->share * (bytes + 1)) >> 16);
        bytes = power->scatters || whole == bytes ? bytes : whole + 1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t torn = i < whole ? 0 : next_random(&random);
        power->violations += (uint64_t)is_violation(sim, offset + i, data[i]);
        sim->bytes[offset + i] &= (uint8_t)(data[i] | torn);
        sim->written[offset + i] = data[i];
    }
    return (int)power->is_off;
}

/* What an erase leaves that was not finished: a part that is done, or any bits, as erasing first clears them;
 * in all of the sector or in some of its pages. */
static void half_erase(sel_flash_sim_t *sim, uint32_t offset)
{
    uint32_t random = random_start(sim->power), way = next_random(&random) % 4, done = 0;
    for (uint32_t i = 0; i < SEL_FLASH_SIM_SECTOR; i++) {
        uint8_t *byte = sim->bytes + offset + i;
        if (i % SEL_PAGE_BYTES == 0) {
            done = next_random(&random) % 4;
        }
        if (way == 0 || (way == 1 && done == 0)) {
            *byte = 0xFF;
        } else if (way == 2 || done == 1) {
            *byte |= next_random(&random);
        } else if (done == 2) {
            *byte = next_random(&random);
        }
    }
}

static int erase(void *context, uint32_t offset)
{
    sel_flash_sim_t *sim = context;
    int fails;
    if (sim->power->is_off) {
        return 1;
    }
    if (offset % SEL_FLASH_SIM_SECTOR != 0 || offset >= sim->flash.bytes) {
        sim->power->violations++;
        return 1;
    }
    fails = fails_now(sim->power);
    if (fails) {
        half_erase(sim, offset);
    } else {
        memset(sim->bytes + offset, 0xFF, SEL_FLASH_SIM_SECTOR);
    }
    for (uint32_t i = 0; i < SEL_FLASH_SIM_SECTOR; i++) {
        sim->written[offset + i] = fails ? HALF_ERASED : BLANK;
    }
    sim->erases[offset / SEL_FLASH_SIM_SECTOR]++;
    return fails;
}

/* Maps a piece of a file, which is appended if the file ends before it; NULL if that cannot be done. */
static uint8_t *map_file(const char *path, uint32_t offset, uint32_t bytes)
{
    static const uint8_t blank[SEL_FLASH_SIM_SECTOR] = {0};
    uint8_t *map = NULL;
    int file = open(path, O_RDWR | O_CREAT, 0600);
    off_t size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    int is_new = size == (off_t)offset, is_ready = is_new || size >= (off_t)offset + (off_t)bytes;
    for (uint32_t at = 0; is_new && is_ready && at < bytes; at += sizeof blank) {
        is_ready = write(file, blank, sizeof blank) == (ssize_t)sizeof blank;
    }
    if (is_ready) {
        map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)offset);
        map = map == MAP_FAILED ? NULL : map;
    }
    if (map != NULL && is_new) {
        memset(map, 0xFF, bytes);
    }
    if (file >= 0) {
        (void)close(file);
    }
    return map;
}

static uint8_t *map_memory(uint32_t bytes)
{
    void *map = NULL;
    if (posix_memalign(&map, SEL_FLASH_SIM_SECTOR, bytes) != 0) {
        return NULL;
    }
    memset(map, 0xFF, bytes);
    return map;
}

sel_flash_sim_t *sel_flash_sim_new(uint32_t bytes, const char *path, uint32_t offset)
{
    sel_flash_sim_t *sim = calloc(1, sizeof *sim);
    if (sim == NULL) {
        return NULL;
    }
    sim->is_file = path != NULL;
    sim->bytes = path != NULL ? map_file(path, offset, bytes) : map_memory(bytes);
    sim->written = calloc(bytes, sizeof *sim->written);
    sim->erases = calloc(bytes / SEL_FLASH_SIM_SECTOR, sizeof *sim->erases);
    sim->flash = (sel_flash_t){sim->bytes, bytes, SEL_FLASH_SIM_SECTOR, sim, erase, program};
    sim->power = &sim->own_power;
    if (sim->bytes == NULL || sim->written == NULL || sim->erases == NULL) {
        sel_flash_sim_free(sim);
        return NULL;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        sim->written[i] = sim->bytes[i] == 0xFF ? BLANK : sim->bytes[i];
    }
    return sim;
}

void sel_flash_sim_free(sel_flash_sim_t *sim)
{
    if (!sim->is_file) {
        free(sim->bytes);
    } else if (sim->bytes != NULL) {
        (void)munmap(sim->bytes, sim->flash.bytes);
    }
    free(sim->written);
    free(sim->erases);
    free(sim);
}

const sel_flash_t *sel_flash_sim_port(const sel_flash_sim_t *sim)
{
    return &sim->flash;
}

void sel_flash_sim_supply(sel_flash_sim_t *sim, sel_power_t *power)
{
    sim->power = power;
}

void sel_flash_sim_copy(sel_flash_sim_t *sim, const sel_flash_sim_t *from)
{
    uint32_t bytes = sim->flash.bytes;
    memcpy(sim->bytes, from->bytes, bytes);
    memcpy(sim->written, from->written, bytes * sizeof *sim->written);
    memcpy(sim->erases, from->erases, bytes / SEL_FLASH_SIM_SECTOR * sizeof *sim->erases);
}

uint32_t sel_flash_sim_erases(const sel_flash_sim_t *sim, uint32_t sector)
{
    return sim->erases[sector];
}
