/* SPDX-License-Identifier: MIT */
/*
 * Looks at sysfs: a parameter of the fuse module, and the list of processors.
 */
#include "fs/ring_offer.h"

#include "meta/base/err.h"

#include <stdio.h>

#define PARAMETER "/sys/module/fuse/parameters/enable_uring"
#define POSSIBLE  "/sys/devices/system/cpu/possible"

unsigned fold_ring_count_cpus(const char *list)
{
    unsigned total = 0;
    for (const char *p = list;; p++) {
        char *end;
        unsigned long first = strtoul(p, &end, 10), last = first;
        if (end == p)
            return 0;
        if (*end == '-') {
            p = end + 1;
            last = strtoul(p, &end, 10);
            if (end == p)
                return 0;
        }
        if (last < first || last > UINT16_MAX)
            return 0;
        total += (unsigned)(last - first) + 1;
        if (*end == '\0' || *end == '\n')
            return total;
        if (*end != ',')
            return 0;
        p = end;
    }
}

/* The first line of a file of sysfs; empty if it cannot be had. */
static void read_line(const char *path, char *text, int size)
{
    FILE *f = fopen(path, "re");
    text[0] = '\0';
    if (f == NULL)
        return;
    if (fgets(text, size, f) == NULL)
        text[0] = '\0';
    fclose(f);
}

int fold_ring_offered(void)
{
    char text[16];
    read_line(PARAMETER, text, sizeof text);
    if (text[0] == '\0')
        return -FOLD_E_NO_RING;
    return text[0] == 'Y' ? 0 : -FOLD_E_RING_OFF;
}

unsigned fold_ring_queues(void)
{
    char text[256];
    read_line(POSSIBLE, text, sizeof text);
    return fold_ring_count_cpus(text);
}
