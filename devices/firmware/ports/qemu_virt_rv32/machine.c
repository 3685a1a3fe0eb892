/* The clock of the CLINT at 0x2000000, the counters of the core, and the test device at 0x100000. */
#include "sel_board.h"

#define TICKS_PER_US 10u

static volatile uint32_t *word(uint32_t address)
{
    return (volatile uint32_t *)address;
}

uint64_t sel_clock_us(void)
{
    uint32_t high, low;
    do {
        high = *word(0x0200BFFC);
        low = *word(0x0200BFF8);
    } while (high != *word(0x0200BFFC));
    return (((uint64_t)high << 32) | low) / TICKS_PER_US;
}

uint64_t sel_clock_cycles(void)
{
    uint32_t high, low, again;
    do {
        __asm__ volatile(".option push\n\t.option arch, +zicsr\n\t"
                         "csrr %0, mcycleh\n\tcsrr %1, mcycle\n\tcsrr %2, mcycleh\n\t"
                         ".option pop"
                         : "=&r"(high), "=&r"(low), "=&r"(again));
    } while (high != again);
    return ((uint64_t)high << 32) | low;
}

void sel_machine_reset(void)
{
    *word(0x00100000) = 0x7777;
    for (;;) {
    }
}

void sel_machine_end(int status)
{
    *word(0x00100000) = status ? 0x13333 : 0x5555;
    for (;;) {
    }
}
