// What the load generators share: their options KEY=VALUE, a clock, and the parts of an MQTT packet.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *program = "load";
static char **options;

static const char *text(const char *name, const char *standard) {
    size_t length = strlen(name);
    for (char **option = options; *option; option++)
        if (!strncmp(*option, name, length) && (*option)[length] == '=') return *option + length + 1;
    return standard;
}

static long number(const char *name, long standard) {
    const char *value = text(name, NULL);
    return value ? atol(value) : standard;
}

static void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static size_t header(uint8_t *out, uint8_t kind, size_t length) {
    size_t place = 0;
    out[place++] = kind;
    do {
        uint8_t digit = length & 0x7f;
        length >>= 7;
        out[place++] = digit | (length ? 0x80 : 0);
    } while (length);
    return place;
}

static size_t string(uint8_t *out, const char *value) {
    size_t length = strlen(value);
    out[0] = (uint8_t)(length >> 8);
    out[1] = (uint8_t)length;
    memcpy(out + 2, value, length);
    return length + 2;
}
