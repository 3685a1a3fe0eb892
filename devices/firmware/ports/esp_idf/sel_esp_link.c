/* The serial line: USB serial/JTAG, or a UART. */
#include "freertos/FreeRTOS.h"
#include "sdkconfig.h"
#include "sel_esp.h"

/* A frame is 1050 bytes, COBS adds 5 and the two zeros. */
#define RECEIVE_BYTES (SEL_ESP_WINDOW * 1060u)
#define SEND_BYTES 2048u
#define SEND_WAIT_MS 200u

#if CONFIG_SEL_EDGE_LINK_USB

#include "driver/usb_serial_jtag.h"

esp_err_t sel_esp_open_link(void)
{
    usb_serial_jtag_driver_config_t config = {.tx_buffer_size = SEND_BYTES, .rx_buffer_size = RECEIVE_BYTES};
    return usb_serial_jtag_driver_install(&config);
}

uint32_t sel_esp_read(uint8_t *bytes, uint32_t room, uint32_t wait_ms)
{
    int count = usb_serial_jtag_read_bytes(bytes, room, pdMS_TO_TICKS(wait_ms));
    return count > 0 ? (uint32_t)count : 0;
}

/* Where nobody reads, the answer is lost after the wait: the host asks again. */
void sel_esp_write(void *context, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    (void)usb_serial_jtag_write_bytes(bytes, count, pdMS_TO_TICKS(SEND_WAIT_MS));
}

void sel_esp_flush_link(void)
{
    (void)usb_serial_jtag_wait_tx_done(pdMS_TO_TICKS(SEND_WAIT_MS));
}

#else

#include "driver/uart.h"

#define PORT ((uart_port_t)CONFIG_SEL_EDGE_UART_PORT)

esp_err_t sel_esp_open_link(void)
{
    uart_config_t config = {
        .baud_rate = CONFIG_SEL_EDGE_UART_BAUD,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
    };
    esp_err_t error = uart_driver_install(PORT, (int)RECEIVE_BYTES, (int)SEND_BYTES, 0, NULL, 0);
    if (error == ESP_OK) {
        error = uart_param_config(PORT, &config);
    }
    if (error == ESP_OK) {
        error = uart_set_pin(PORT, CONFIG_SEL_EDGE_UART_TX, CONFIG_SEL_EDGE_UART_RX, UART_PIN_NO_CHANGE,
                             UART_PIN_NO_CHANGE);
    }
    return error;
}

uint32_t sel_esp_read(uint8_t *bytes, uint32_t room, uint32_t wait_ms)
{
    /* The driver waits for all the bytes that it is asked for: wait for one, then take what is there. */
    int count = uart_read_bytes(PORT, bytes, 1, pdMS_TO_TICKS(wait_ms));
    if (count <= 0) {
        return 0;
    }
    count = uart_read_bytes(PORT, bytes + 1, room - 1, 0);
    return count > 0 ? 1 + (uint32_t)count : 1;
}

void sel_esp_write(void *context, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    (void)uart_write_bytes(PORT, bytes, count);
}

void sel_esp_flush_link(void)
{
    (void)uart_wait_tx_done(PORT, pdMS_TO_TICKS(SEND_WAIT_MS));
}

#endif
