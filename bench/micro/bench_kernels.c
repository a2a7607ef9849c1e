/* SPDX-License-Identifier: MIT */
/*
 * Speed of every kernel at every level, as JSON: an array of {name, level, selected, unit, rate,
 * ratio}; ratio is the rate over that of plain C. With names given, only those kernels.
 * scripts/bench-micro compares the ratios with bench/micro/kernels.json.
 */
#include "asm/kernels_list.h"

#include <stdio.h>
#include <string.h>

static bool wanted(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

int main(int argc, char **argv)
{
    struct fold_kernel_row rows[FOLD_KERNEL_ROWS];
    size_t n = fold_kernels_list(false, rows);
    double plain = 0;
    const char *comma = "";
    printf("[\n");
    for (size_t i = 0; i < n; i++) {
        struct fold_kernel_row *r = &rows[i];
        if (!wanted(argc, argv, r->name))
            continue;
        struct fold_kernels k;
        unsigned flags = fold_cpu_flags();
        (void)fold_cpu_limit(&flags, r->level_name);
        fold_kernels_select(flags, &k);
        r->rate = fold_kernel_rate(&k, r->kernel);
        if (r->level == FOLD_LEVEL_SCALAR)
            plain = r->rate;
        printf("%s  {\"name\": \"%s\", \"level\": \"%s\", \"selected\": %s, \"unit\": \"%s\", "
               "\"rate\": "
               "%.3f, \"ratio\": %.3f}",
               comma, r->name, r->level_name, r->selected ? "true" : "false", r->unit, r->rate,
               plain > 0 ? r->rate / plain : 0);
        comma = ",\n";
    }
    printf("\n]\n");
    return 0;
}
