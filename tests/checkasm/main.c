/* SPDX-License-Identifier: MIT */
/*
 * Runs the checks of the kernels at every level this machine has.
 *
 *     fold_checkasm [--seed N] [--level NAME] [--bench] [FAMILY...]
 */
#include "tests/checkasm/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FAMILY(name) extern const struct check_family check_##name;
#include "check_families.def"
#undef FAMILY

static const struct check_family *const families[] = {
#define FAMILY(name) &check_##name,
#include "check_families.def"
#undef FAMILY
};

struct request {
    uint64_t seed;
    const char *level; /* NULL for all */
    bool bench;
    char **names; /* none for all families */
    int count;
};

static bool parse(int argc, char **argv, struct request *r)
{
    *r = (struct request){.seed = (uint64_t)time(NULL) * 1000003u ^ (uint64_t)clock()};
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        unsigned flags = 0;
        if (strcmp(argv[i], "--bench") == 0)
            r->bench = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            r->seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--level") == 0 && i + 1 < argc &&
                 fold_cpu_limit(&flags, argv[i + 1]))
            r->level = argv[++i];
        else
            return false;
    }
    r->names = argv + i;
    r->count = argc - i;
    return true;
}

static bool wanted(const struct request *r, const char *name)
{
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->names[i], name) == 0)
            return true;
    return r->count == 0;
}

static unsigned run_level(const struct request *r, const struct check_family *family,
                          const char *level)
{
    struct check c;
    unsigned flags = fold_cpu_flags();
    struct fold_kernels k;
    (void)fold_cpu_limit(&flags, level);
    fold_kernels_select(flags, &k);
    if (strcmp(fold_level_name(k.level), level) != 0)
        return 0; /* this machine does not have it */
    check_init(&c, r->seed);
    c.family = family->name;
    c.level = k.level;
    if (!r->bench)
        family->run(&c, &k);
    else if (family->bench != NULL)
        family->bench(&c, &k);
    unsigned failures = check_failures(&c);
    if (!r->bench)
        printf("%-8s %-7s %s\n", family->name, level, failures ? "FAILED" : "ok");
    check_fini(&c);
    return failures;
}

int main(int argc, char **argv)
{
    struct request r;
    unsigned failures = 0;
    size_t ran = 0;
    if (!parse(argc, argv, &r)) {
        (void)fprintf(
            stderr,
            "usage: %s [--seed N] [--level scalar|sse42|avx2|avx512] [--bench] [FAMILY...]\n",
            argv[0]);
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)r.seed);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (!wanted(&r, families[i]->name))
            continue;
        ran++;
        for (int level = 0; level < FOLD_LEVELS; level++) {
            const char *name = fold_level_name((enum fold_level)level);
            if (r.level == NULL || strcmp(r.level, name) == 0)
                failures += run_level(&r, families[i], name);
        }
    }
    if (ran == 0) {
        (void)fprintf(stderr, "no such family\n");
        return 2;
    }
    if (failures != 0)
        (void)fprintf(stderr, "repeat with --seed %llu\n", (unsigned long long)r.seed);
    return failures != 0;
}
