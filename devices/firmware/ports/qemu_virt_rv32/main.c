/* The firmware: a board on a serial line. It has no camera; frames come with requests. */
#include "sel_board.h"
#include "sel_device.h"

#define ARENA_BYTES (400u << 10) /* what an ESP32-C3 has in all */
#define TABLE_ENTRIES 16384u
#define MESSAGE_BYTES (64u << 10)
#define SAMPLES_BYTES (256u << 10)
#define LOG_BYTES 4096u
#define WINDOW 8u /* any number would do: the emulated line waits for the board */

static uint64_t started_ms; /* when the clock was at 0, in milliseconds since 1970; 0 if nobody said */

static void send(void *context, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    sel_uart_write(bytes, count);
}

static uint32_t uptime_ms(void *context)
{
    (void)context;
    return (uint32_t)(sel_clock_us() / 1000);
}

static void set_time(void *context, uint64_t milliseconds)
{
    (void)context;
    started_ms = milliseconds - sel_clock_us() / 1000;
}

static uint64_t time_ms(void *context)
{
    (void)context;
    return started_ms ? started_ms + sel_clock_us() / 1000 : 0;
}

static uint64_t cycles(void *context)
{
    (void)context;
    return sel_clock_cycles();
}

static void reboot(void *context)
{
    (void)context;
    sel_machine_reset();
}

static void open_port(sel_port_t *port)
{
    sel_settings_open(port);
    port->write = send;
    port->uptime_ms = uptime_ms;
    port->set_time = set_time;
    port->time_ms = time_ms;
    port->cycles = cycles;
    port->reboot = reboot;
}

static void open_memory(sel_memory_t *memory)
{
    static uint32_t arena[ARENA_BYTES / 4];
    static sel_channel_t table[TABLE_ENTRIES];
    static uint8_t message[MESSAGE_BYTES], samples[SAMPLES_BYTES], log[LOG_BYTES];

    memory->arena = (uint8_t *)arena;
    memory->arena_bytes = sizeof arena;
    memory->table = table;
    memory->table_entries = TABLE_ENTRIES;
    memory->message = message;
    memory->message_bytes = sizeof message;
    memory->samples = samples;
    memory->samples_bytes = sizeof samples;
    memory->log = log;
    memory->log_bytes = sizeof log;
}

int main(void)
{
    static const uint8_t awake = 0; /* an empty frame: tells that the board is there, and nothing else */
    static sel_flash_t flashes[3];
    static sel_port_t port;
    static sel_board_t board = {&port, &flashes[0], {&flashes[1], &flashes[2]}, {0}, WINDOW};
    static sel_device_t device;
    uint8_t bytes[16]; /* what the UART holds */

    for (int i = 0; i < 3; i++) {
        flashes[i] = sel_pflash((sel_partition_t)(SEL_PART_IMAGE + i));
    }
    sel_uart_open();
    open_port(&port);
    open_memory(&board.memory);
    sel_device_open(&device, &board);
    sel_uart_write(&awake, 1);
    for (;;) {
        uint32_t count = 0;
        int byte;

        while (count < sizeof bytes && (byte = sel_uart_read()) >= 0) {
            bytes[count++] = (uint8_t)byte;
        }
        if (count == 0) {
            sel_uart_wait();
        }
        sel_device_receive(&device, bytes, count);
    }
}
