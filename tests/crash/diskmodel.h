/* SPDX-License-Identifier: MIT */
/*
 * A disk as a power cut finds it: files and directories with what is durable, and the changes that
 * are not yet.
 */
#ifndef FOLD_TESTS_CRASH_DISKMODEL_H
#define FOLD_TESTS_CRASH_DISKMODEL_H

#include "tests/crash/crashlog.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens to changes that were not synced when the power goes. */
enum cut_mode {
    CUT_KEEP, /* all reached the disk, but for a torn end of the last write */
    CUT_DROP, /* none did */
    CUT_SOME, /* any of them did, in any order (names of one directory: any number of the first) */
    CUT_TEAR512, /* any of them did, writes torn at 512 bytes */
    CUT_TEAR4K,  /* the same at 4 KiB */
    CUT_ORDERED, /* names changed in order up to some point; any of the writes */
    CUT_NAMES,   /* any of the names, in any order, and any of the writes */
    CUT_MODES
};

struct disk;

/* A disk holding what the directory `base` holds, all of it durable. */
struct disk *disk_load(const char *base);
void disk_free(struct disk *d);

/* Takes one change in; `data` must stay valid. Returns false for records it cannot replay. */
bool disk_apply(struct disk *d, const struct crashlog_record *r, const char *path,
                const char *path2, const uint8_t *data);

/* Decides what survives and writes the result to the new directory `out`. */
void disk_cut(struct disk *d, enum cut_mode mode, uint64_t seed, const char *out);

/* Changes not durable at the moment. */
size_t disk_pending(const struct disk *d);

#endif
