/* The 16550 at 0x10000000, interrupt 10 of the PLIC. */
#include "sel_board.h"

#define UART ((volatile uint8_t *)0x10000000u)
#define PLIC 0x0C000000u
#define INTERRUPT 10u

enum { DATA = 0, INTERRUPTS = 1, FIFOS = 2, LINE_STATUS = 5 };
enum { RECEIVED = 0x01, ROOM = 0x20 };

static volatile uint32_t *plic(uint32_t offset)
{
    return (volatile uint32_t *)(PLIC + offset);
}

void sel_uart_open(void)
{
    UART[FIFOS] = 0x07; /* on, and emptied */
    UART[INTERRUPTS] = RECEIVED;
    *plic(4 * INTERRUPT) = 1;        /* its priority */
    *plic(0x2000) = 1u << INTERRUPT; /* enabled for the core in machine mode */
    *plic(0x200000) = 0;             /* whatever its priority */
}

int sel_uart_read(void)
{
    return UART[LINE_STATUS] & RECEIVED ? UART[DATA] : -1;
}

void sel_uart_write(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while (!(UART[LINE_STATUS] & ROOM)) {
        }
        UART[DATA] = bytes[i];
    }
}

void sel_uart_wait(void)
{
    /* start.S lets the interrupt end the sleep; it is never taken. */
    __asm__ volatile("wfi");
    *plic(0x200004) = *plic(0x200004); /* claimed and completed */
}
