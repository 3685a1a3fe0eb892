/* Stands in for libFuzzer where clang is missing: inputs are mutations of seeds, the same in every run.
 *
 *     HARNESS -runs=N -seed=S FOLDER...      as with libFuzzer
 *
 * Folders hold files named 0, 1, 2 and so on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define MOST_SEEDS 64u
#define LONGEST 8192u

typedef struct {
    uint8_t bytes[LONGEST];
    uint32_t count;
} input_t;

static input_t seeds[MOST_SEEDS];
static uint32_t seed_count;
static uint64_t state;

/* xorshift64* (Vigna, ACM TOMS 42(4), 2016); below `bound`. */
static uint32_t draw(uint32_t bound)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1Du) >> 33) % bound;
}

static void read_folder(const char *folder)
{
    char path[4096];
    while (seed_count < MOST_SEEDS) {
        FILE *file;
        (void)snprintf(path, sizeof path, "%s/%u", folder, seed_count);
        file = fopen(path, "rb");
        if (file == NULL) {
            return;
        }
        seeds[seed_count].count = (uint32_t)fread(seeds[seed_count].bytes, 1, LONGEST, file);
        (void)fclose(file);
        seed_count++;
    }
}

static void copy_part(input_t *input, const input_t *other)
{
    uint32_t from = draw(other->count), at = draw(input->count);
    uint32_t count = 1 + draw(64);
    count = count < other->count - from ? count : other->count - from;
    count = count < input->count - at ? count : input->count - at;
    memmove(input->bytes + at, other->bytes + from, count);
}

static void insert_or_cut(input_t *input)
{
    uint32_t at = draw(input->count), count = 1 + draw(32);
    if (draw(2) == 0 && input->count + count <= LONGEST) {
        memmove(input->bytes + at + count, input->bytes + at, input->count - at);
        input->count += count;
    } else if (at + count < input->count) {
        memmove(input->bytes + at, input->bytes + at + count, input->count - at - count);
        input->count -= count;
    }
}

static void mutate(input_t *input)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF};
    for (uint32_t changes = draw(6); changes > 0 && input->count > 0; changes--) {
        uint8_t *byte = &input->bytes[draw(input->count)];
        switch (draw(5)) {
        case 0:
            *byte = (uint8_t)(*byte ^ (1u << draw(8)));
            break;
        case 1:
            *byte = (uint8_t)draw(256);
            break;
        case 2:
            *byte = edges[draw(sizeof edges)];
            break;
        case 3:
            if (seeds[0].count > 0) {
                copy_part(input, &seeds[draw(seed_count)]);
            }
            break;
        default:
            insert_or_cut(input);
            break;
        }
    }
}

int main(int count, char **arguments)
{
    static input_t input;
    unsigned long runs = 1000;
    state = 1;
    for (int i = 1; i < count; i++) {
        if (strncmp(arguments[i], "-runs=", 6) == 0) {
            runs = strtoul(arguments[i] + 6, NULL, 10);
        } else if (strncmp(arguments[i], "-seed=", 6) == 0) {
            state = strtoul(arguments[i] + 6, NULL, 10) * 2 + 1;
        } else if (arguments[i][0] != '-') {
            read_folder(arguments[i]);
        }
    }
    sel_fuzz_require(seed_count > 0, "no seeds");
    for (unsigned long run = 0; run < runs; run++) {
        input = seeds[draw(seed_count)];
        mutate(&input);
        (void)LLVMFuzzerTestOneInput(input.bytes, input.count);
    }
    (void)fprintf(stderr, "Done %lu runs\n", runs);
    return 0;
}
