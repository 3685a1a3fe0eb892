/* A board without a camera: it answers over the link, and once a second looks at a frame that it makes up. */
#include "esp_system.h"
#include "sel_esp.h"

#define FRAME_INTERVAL_MS 1000u
#define FRAME_BYTES 4096u

/* Stripes that move: something to look at, not something to recognize. */
static void make_frame(uint8_t *frame, uint32_t bytes, uint32_t number)
{
    for (uint32_t i = 0; i < bytes; i++) {
        frame[i] = (uint8_t)((i + 8 * number) << 3);
    }
}

void app_main(void)
{
    static sel_board_t board;
    static sel_device_t device;
    static uint8_t frame[FRAME_BYTES];
    uint8_t bytes[256];
    uint32_t last_ms = 0;
    sel_answer_t answer;

    if (sel_esp_open(&board) != ESP_OK) {
        esp_restart();
    }
    sel_device_open(&device, &board);
    for (;;) {
        uint32_t count = sel_esp_read(bytes, sizeof bytes, FRAME_INTERVAL_MS);
        uint32_t now_ms = board.port->uptime_ms(board.port->context);

        sel_device_receive(&device, bytes, count);
        if (now_ms - last_ms < FRAME_INTERVAL_MS) {
            continue;
        }
        last_ms = now_ms;
        if (device.has_image && sel_net_input_bytes(&device.image) <= sizeof frame) {
            make_frame(frame, sel_net_input_bytes(&device.image), device.frames);
            (void)sel_device_observe(&device, frame, &answer);
        }
    }
}
