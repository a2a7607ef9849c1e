/* SPDX-License-Identifier: MIT */
/*
 * foldfs with the limits that FOLDFS_KNOBS names ("name=value,..."), for mounted tests that cross
 * them with little data.
 */
#include "fs/cli/verbs.h"
#include "meta/base/knob.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const char *text = getenv("FOLDFS_KNOBS");
    if (text != NULL && fold_knobs_set(text) != 0) {
        (void)fprintf(stderr, "FOLDFS_KNOBS: \"%s\" does not name knobs with values in range\n",
                      text);
        return FOLD_EXIT_USAGE;
    }
    return fold_verbs_main(argc, argv);
}
