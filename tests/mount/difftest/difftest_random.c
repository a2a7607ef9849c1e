/* SPDX-License-Identifier: MIT */
/*
 * Seeded randomness and the contents to write. Contents come mostly from one library of bytes, at
 * any offset, so that the same data arrives again at other alignments; zero runs, constant runs and
 * texts of few letters come in between.
 */
#include "tests/mount/difftest/difftest.h"

#include <string.h>

/* xoroshiro128+ */
uint64_t dt_random(struct world *w)
{
    uint64_t a = w->random[0];
    uint64_t b = w->random[1];
    uint64_t sum = a + b;
    b ^= a;
    w->random[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    w->random[1] = (b << 37) | (b >> 27);
    return sum;
}

uint64_t dt_below(struct world *w, uint64_t n)
{
    return n == 0 ? 0 : (dt_random(w) >> 11) % n;
}

bool dt_chance(struct world *w, unsigned percent)
{
    return dt_below(w, 100) < percent;
}

void dt_library_fill(struct world *w)
{
    for (size_t i = 0; i < DT_IO_MAX; i += 8) {
        uint64_t v = dt_random(w);
        if (i >= DT_IO_MAX / 2 && i < DT_IO_MAX * 3 / 4) {
            v = (v & 0x0303030303030303u) + 0x6161616161616161u;
        } else if (i >= DT_IO_MAX * 3 / 4) {
            v = i % 4096; /* the same page again and again */
        }
        memcpy(w->library + i, &v, 8);
    }
}

void dt_content(struct world *w, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t piece = len - at;
        if (dt_chance(w, 40)) {
            piece = dt_below(w, piece) + 1;
        }
        unsigned kind = (unsigned)dt_below(w, 10);
        if (kind < 7) {
            size_t from = dt_below(w, DT_IO_MAX - piece + 1);
            if (dt_chance(w, 50)) {
                from &= ~(size_t)4095;
            }
            memcpy(w->content + at, w->library + from, piece);
        } else if (kind < 9) {
            memset(w->content + at, 0, piece);
        } else {
            memset(w->content + at, (int)dt_below(w, 256), piece);
        }
        at += piece;
    }
}

uint64_t dt_length(struct world *w, uint64_t max)
{
    uint64_t cap;
    switch (dt_below(w, 6)) {
    case 0:
        cap = 16;
        break;
    case 1:
        cap = 5000;
        break;
    case 2:
    case 3:
        cap = 70000;
        break;
    default:
        cap = dt_chance(w, 15) ? max : 20000;
        break;
    }
    uint64_t len = dt_below(w, (cap < max ? cap : max) + 1);
    return dt_chance(w, 30) ? (len & ~(uint64_t)4095) : len;
}
