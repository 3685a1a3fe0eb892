/* sel_board: one simulated board on a pty or a TCP port of this machine, to try everything without hardware.
 *
 *     sel_board [OPTIONS] FLASH pty
 *     sel_board [OPTIONS] FLASH tcp PORT      (PORT 0: any that is free)
 *
 *     -i ID        device id, 8 characters
 *     -c FRAMES    a camera: it sees the frames in this file one after the other, and again from the first;
 *                  each has as many bytes as the network takes
 *     -e MS        between two frames; 1000 if not given
 *
 * Its flash is the file FLASH. The first line it writes is what `sel-edge` takes for a port.
 */
#define _XOPEN_SOURCE 600

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "sel_host.h"

#define MAX_FRAME_BYTES (64u << 10)

typedef struct {
    sel_host_t *host;
    FILE *camera; /* NULL: none */
    uint32_t every_ms;
    uint32_t clock_ms;  /* how far the board's clock has come, by this machine's */
    uint32_t looked_ms; /* when the camera saw its last frame */
} sel_desk_t;

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

/* The next frame of the camera. */
static void look(sel_desk_t *desk)
{
    static uint8_t frame[MAX_FRAME_BYTES];
    const sel_device_t *device = sel_host_device(desk->host);
    uint32_t size = device->has_image ? sel_net_input_bytes(&device->image) : 0;
    uint16_t answer[3];
    if (size == 0 || size > sizeof frame) {
        return;
    }
    if (fread(frame, 1, size, desk->camera) != size) {
        rewind(desk->camera);
        if (fread(frame, 1, size, desk->camera) != size) {
            return;
        }
    }
    (void)sel_host_observe(desk->host, frame, answer);
}

/* Waits until there is something to read. Meanwhile time goes by, and the camera looks. */
static int wait_for(sel_desk_t *desk, int line)
{
    struct pollfd waited = {line, POLLIN, 0};
    int ready;
    do {
        uint32_t time_ms;
        ready = poll(&waited, 1, desk->camera == NULL ? -1 : (int)desk->every_ms);
        time_ms = now_ms();
        sel_host_advance(desk->host, time_ms - desk->clock_ms);
        desk->clock_ms = time_ms;
        if (desk->camera != NULL && time_ms - desk->looked_ms >= desk->every_ms) {
            desk->looked_ms = time_ms;
            look(desk);
        }
    } while (ready == 0);
    return ready;
}

/* Serves until the other side is gone. */
static void serve(sel_desk_t *desk, int line)
{
    uint8_t bytes[4096];
    ssize_t count;
    while (wait_for(desk, line) > 0 && (count = read(line, bytes, sizeof bytes)) > 0) {
        uint32_t sent;
        sel_host_receive(desk->host, bytes, (uint32_t)count);
        while ((sent = sel_host_sent(desk->host, bytes, sizeof bytes)) > 0) {
            if (write_all(line, bytes, sent) != 0) {
                return;
            }
        }
    }
}

/* The slave's end stays open here too, so that the line survives those who come and go. */
static int serve_pty(sel_desk_t *desk)
{
    struct termios raw;
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
    serve(desk, line);
    return 0;
}

static int serve_tcp(sel_desk_t *desk, uint16_t port)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
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
    while (wait_for(desk, door) > 0 && (line = accept(door, NULL, NULL)) >= 0) {
        (void)setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        serve(desk, line);
        (void)close(line);
    }
    return failed("tcp");
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: sel_board [-i ID] [-c FRAMES] [-e MS] FLASH pty | FLASH tcp PORT\n");
    return 2;
}

/* The options of the command line; 0, or an exit code. */
static int configure(int count, char **arguments, sel_host_options_t *options, sel_desk_t *desk)
{
    int option;
    while ((option = getopt(count, arguments, "i:c:e:")) != -1) {
        if (option == 'i' && strlen(optarg) == sizeof options->device_id) {
            memcpy(options->device_id, optarg, sizeof options->device_id);
        } else if (option == 'c') {
            desk->camera = fopen(optarg, "rb");
            if (desk->camera == NULL) {
                (void)failed(optarg);
                return 1;
            }
        } else if (option == 'e' && strtoul(optarg, NULL, 10) <= 3600000) {
            desk->every_ms = (uint32_t)strtoul(optarg, NULL, 10);
        } else {
            return usage();
        }
    }
    return 0;
}

int main(int count, char **arguments)
{
    sel_host_options_t options = {
        .image_bytes = 4u << 20,
        .area_bytes = 512u << 10,
        .arena_bytes = 400u << 10,
        .table_entries = 16384,
        .message_bytes = MAX_FRAME_BYTES,
        .samples_bytes = 256u << 10,
        .log_bytes = 4096,
        .window = 8,
        .device_id = "simboard",
    };
    sel_desk_t desk = {.every_ms = 1000, .clock_ms = now_ms(), .looked_ms = now_ms()};
    int result = configure(count, arguments, &options, &desk);
    int is_pty = count == optind + 2 && strcmp(arguments[optind + 1], "pty") == 0;
    int is_tcp = count == optind + 3 && strcmp(arguments[optind + 1], "tcp") == 0;
    if (result != 0) {
        return result;
    }
    if (!is_pty && !is_tcp) {
        return usage();
    }
    desk.host = sel_host_new(&options, arguments[optind]);
    if (desk.host == NULL) {
        (void)fprintf(stderr, "%s cannot be the flash of a board\n", arguments[optind]);
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* of who hangs up while the board answers */
    result = is_pty ? serve_pty(&desk) : serve_tcp(&desk, (uint16_t)strtoul(arguments[optind + 2], NULL, 10));
    sel_host_free(desk.host);
    return result == 0 ? 0 : 1;
}
