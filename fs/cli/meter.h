/* SPDX-License-Identifier: MIT */
/*
 * A progress bar on standard error, shown only on a terminal.
 */
#ifndef FOLD_FS_CLI_METER_H
#define FOLD_FS_CLI_METER_H

#include "meta/base/attr.h"

#include <stdbool.h>

/* Zero-initialise. */
struct fold_meter {
    bool shown;
    uint64_t last_ms;
};

/* Shows how far `step` is; cheap enough to be called often. `total` 0: not known. */
void fold_meter_show(struct fold_meter *m, const char *step, uint64_t done, uint64_t total);

/* Takes the bar away. */
void fold_meter_end(struct fold_meter *m);

#endif
