/* SPDX-License-Identifier: MIT */
/*
 * foldfs kernels: every hot kernel at every level of CPU instructions this machine has.
 */
#include "fs/cli/verbs.h"

#include "asm/kernels_list.h"

#include <jansson.h>

enum { JSON = 256, BENCH };

static const struct fold_cli_option options[] = {
    {JSON, "json", NULL, "print a JSON array of {name, level, selected, unit, rate}"},
    {BENCH, "bench", NULL, "measure each one on one core (some seconds)"},
    {0, NULL, NULL, NULL},
};

static int print_json(const struct fold_verb *verb, const struct fold_kernel_row *row, size_t n)
{
    json_t *all = json_array();
    int bad = 0;
    for (; n > 0; n--, row++) {
        json_t *rate = row->rate > 0 ? json_real(row->rate) : json_null();
        bad |= json_array_append_new(
            all, json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", row->name, "level", row->level_name,
                           "selected", row->selected, "unit", row->unit, "rate", rate));
    }
    if (bad == 0)
        bad = json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(4));
    putchar('\n');
    json_decref(all);
    return bad == 0 ? FOLD_EXIT_OK : fold_cli_fail(verb, FOLD_EXIT_SYSTEM, "out of memory");
}

static void print_text(const struct fold_kernel_row *row, size_t n)
{
    const char *last = "";
    for (; n > 0; n--, row++) {
        printf("%-14s %-7s %s", strcmp(last, row->name) != 0 ? row->name : "", row->level_name,
               row->selected ? "*" : " ");
        if (row->rate > 0)
            printf(" %9.2f %s", row->rate, row->unit);
        putchar('\n');
        last = row->name;
    }
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_kernel_row rows[FOLD_KERNEL_ROWS];
    struct fold_cli cli;
    const char *value;
    bool json = false;
    bool bench = false;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        *(id == JSON ? &json : &bench) = true;
    }
    if (fold_cli_operands(&cli, 0, 0, NULL) == NULL)
        return cli.exit;
    size_t n = fold_kernels_list(bench, rows);
    if (json)
        return print_json(verb, rows, n);
    print_text(rows, n);
    return FOLD_EXIT_OK;
}

const struct fold_verb fold_verb_kernels = {
    .name = "kernels",
    .synopsis = "[--json] [--bench]",
    .summary = "list the kernels of the data path, and which of them this CPU uses",
    .details =
        "A star marks the ones in use. FOLDFS_CPU=scalar|sse42|avx2|avx512 in the environment\n"
        "sets the highest level that is used; results are the same at every level.\n",
    .options = options,
    .run = run,
};
