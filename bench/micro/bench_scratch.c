/* SPDX-License-Identifier: MIT */
/*
 * What scratch memory and copies cost a request.
 *
 * Scratch: malloc and free for each request against one buffer kept per thread, the first byte of
 * every page and the rest of a small header touched, as a codec or a framer does. Copy: memcpy of a
 * reply out of a mapping, against handing out the address (reading one byte of each page, which the
 * kernel does anyway).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SOURCE (256u << 20)

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void touch(volatile uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i += 4096)
        p[i] = 1;
}

static double by_malloc(size_t size, size_t count)
{
    double start = now();
    for (size_t i = 0; i < count; i++) {
        uint8_t *a = malloc(size);
        uint8_t *b = malloc(size / 2);
        if (a == NULL || b == NULL)
            abort();
        touch(a, size);
        touch(b, size / 2);
        free(a);
        free(b);
    }
    return (now() - start) / (double)count;
}

static double by_arena(size_t size, size_t count, uint8_t *arena)
{
    double start = now();
    for (size_t i = 0; i < count; i++) {
        touch(arena, size);
        touch(arena + size, size / 2);
    }
    return (now() - start) / (double)count;
}

static uint8_t peek(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i += 4096)
        sum ^= *(const volatile uint8_t *)(p + i);
    return sum;
}

static double by_copy(size_t size, size_t count, const uint8_t *source, uint8_t *reply,
                      uint8_t *sink)
{
    double start = now();
    for (size_t i = 0; i < count; i++) {
        memcpy(reply, source + i * size % (SOURCE - size), size);
        *sink ^= peek(reply, size);
    }
    return (now() - start) / (double)count;
}

static double by_address(size_t size, size_t count, const uint8_t *source, uint8_t *sink)
{
    double start = now();
    for (size_t i = 0; i < count; i++)
        *sink ^= peek(source + i * size % (SOURCE - size), size);
    return (now() - start) / (double)count;
}

int main(void)
{
    uint8_t *arena = malloc(8u << 20);
    uint8_t *source = malloc(SOURCE);
    uint8_t sink = 0;
    if (arena == NULL || source == NULL)
        return 1;
    memset(arena, 1, 8u << 20);
    memset(source, 1, SOURCE);
    printf("%8s %12s %12s %12s %12s   ns a request\n", "KiB", "malloc", "kept buffer", "copy",
           "address");
    for (size_t size = 4096; size <= 4u << 20; size *= 2) {
        size_t count = (512u << 20) / size < 20000 ? (512u << 20) / size : 20000;
        double best[4] = {1e18, 1e18, 1e18, 1e18};
        for (int round = 0; round < 5; round++) {
            double t[4] = {by_malloc(size, count), by_arena(size, count, arena),
                           by_copy(size, count, source, arena, &sink),
                           by_address(size, count, source, &sink)};
            for (int i = 0; i < 4; i++)
                best[i] = t[i] < best[i] ? t[i] : best[i];
        }
        printf("%8zu %12.0f %12.0f %12.0f %12.0f\n", size >> 10, best[0], best[1], best[2],
               best[3]);
    }
    free(arena);
    free(source);
    return sink == 255;
}
