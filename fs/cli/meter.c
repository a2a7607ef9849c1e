/* SPDX-License-Identifier: MIT */
/*
 * Redrawn at most ten times a second.
 */
#include "fs/cli/meter.h"

#include "meta/base/clock.h"

#include <inttypes.h>
#include <stdio.h>

#define WIDTH     30u
#define REDRAW_MS 100u

void fold_meter_show(struct fold_meter *m, const char *step, uint64_t done, uint64_t total)
{
    uint64_t now = fold_clock_ms();
    if (!isatty(STDERR_FILENO) || (m->shown && now - m->last_ms < REDRAW_MS))
        return;
    char bar[WIDTH + 1];
    uint64_t filled = total > 0 ? FOLD_MIN(done, total) * WIDTH / total : 0;
    memset(bar, ' ', WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r%-20s [%s] %3u%%", step, bar,
            total > 0 ? (unsigned)(FOLD_MIN(done, total) * 100 / total) : 0);
    m->shown = true;
    m->last_ms = now;
}

void fold_meter_end(struct fold_meter *m)
{
    if (m->shown)
        fprintf(stderr, "\r%60s\r", "");
    m->shown = false;
}
