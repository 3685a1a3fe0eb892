/* sel_board: one simulated board on a pty or a TCP port of this machine, to try the link without hardware.
 *
 *     sel_board FLASH pty
 *     sel_board FLASH tcp PORT      (PORT 0: any that is free)
 *
 * Its flash is the file FLASH. The first line it writes is what `sel-edge` takes for a port.
 */
#define _XOPEN_SOURCE 600

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "sel_host.h"

static const sel_host_options_t options = {
    .image_bytes = 4u << 20,
    .area_bytes = 512u << 10,
    .arena_bytes = 400u << 10,
    .table_entries = 16384,
    .message_bytes = 64u << 10,
    .samples_bytes = 256u << 10,
    .log_bytes = 4096,
    .window = 8,
    .device_id = "simboard",
};

static uint32_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

static int failed(const char *what)
{
    perror(what);
    return -1;
}

static int write_all(int line, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(line, bytes, count);
        if (written <= 0) {
            return -1;
        }
        bytes += written;
        count -= (size_t)written;
    }
    return 0;
}

/* Serves until the other side is gone. The board's clock goes on from `clock_ms`. */
static void serve(sel_host_t *host, int line, uint32_t *clock_ms)
{
    uint8_t bytes[4096];
    ssize_t count;
    while ((count = read(line, bytes, sizeof bytes)) > 0) {
        uint32_t time_ms = now_ms(), sent;
        sel_host_advance(host, time_ms - *clock_ms);
        *clock_ms = time_ms;
        sel_host_receive(host, bytes, (uint32_t)count);
        while ((sent = sel_host_sent(host, bytes, sizeof bytes)) > 0) {
            if (write_all(line, bytes, sent) != 0) {
                return;
            }
        }
    }
}

/* The slave's end stays open here too, so that the line survives those who come and go. */
static int serve_pty(sel_host_t *host)
{
    struct termios raw;
    uint32_t clock_ms = now_ms();
    int line = posix_openpt(O_RDWR | O_NOCTTY);
    int slave;
    if (line < 0 || grantpt(line) != 0 || unlockpt(line) != 0) {
        return failed("pty");
    }
    slave = open(ptsname(line), O_RDWR | O_NOCTTY);
    if (slave < 0 || tcgetattr(slave, &raw) != 0) {
        return failed("pty");
    }
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(slave, TCSANOW, &raw) != 0) {
        return failed("pty");
    }
    (void)printf("%s\n", ptsname(line));
    (void)fflush(stdout);
    serve(host, line, &clock_ms);
    return 0;
}

static int serve_tcp(sel_host_t *host, uint16_t port)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    uint32_t clock_ms = now_ms();
    int yes = 1, line;
    int door = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (door < 0 || setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(door, (struct sockaddr *)&address, length) != 0 || listen(door, 1) != 0 ||
        getsockname(door, (struct sockaddr *)&address, &length) != 0) {
        return failed("tcp");
    }
    (void)printf("socket://127.0.0.1:%u\n", (unsigned)ntohs(address.sin_port));
    (void)fflush(stdout);
    while ((line = accept(door, NULL, NULL)) >= 0) {
        (void)setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        serve(host, line, &clock_ms);
        (void)close(line);
    }
    return failed("tcp");
}

int main(int count, char **arguments)
{
    int is_pty = count == 3 && strcmp(arguments[2], "pty") == 0;
    int is_tcp = count == 4 && strcmp(arguments[2], "tcp") == 0;
    sel_host_t *host;
    int result;
    if (!is_pty && !is_tcp) {
        (void)fprintf(stderr, "usage: sel_board FLASH pty | sel_board FLASH tcp PORT\n");
        return 2;
    }
    host = sel_host_new(&options, arguments[1]);
    if (host == NULL) {
        (void)fprintf(stderr, "%s cannot be the flash of a board\n", arguments[1]);
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* of who hangs up while the board answers */
    result = is_pty ? serve_pty(host) : serve_tcp(host, (uint16_t)strtoul(arguments[3], NULL, 10));
    sel_host_free(host);
    return result == 0 ? 0 : 1;
}
