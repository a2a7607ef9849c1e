/* SPDX-License-Identifier: MIT */
/*
 * The simulator's command line: plays the programs of many seeds in several processes, or one
 * program; shrinks those that fail.
 */
#include "tests/sim/runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int usage(void)
{
    (void)fprintf(
        stderr,
        "usage: sim run [-j PROCESSES] [-t SECONDS] [-n SEEDS] [-s FIRST|day] [-o DIRECTORY]\n"
        "       sim draw SEED       the program of a seed\n"
        "       sim play FILE       plays a program ('-': from the standard input), with its log\n"
        "       sim seed SEED       draws and plays\n"
        "       sim shrink FILE     prints the shortest program that still fails the same way\n"
        "       sim gate            a minute: the same seeds each time, then some of the day\n"
        "       sim selftest        faults planted into the daemon must be found\n");
    return 2;
}

static int load(struct sim_program *p, const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    bool ok = sim_program_read(p, f);
    if (f != stdin)
        (void)fclose(f);
    return ok ? 0 : -1;
}

/* Seeds that no other day has. */
static uint64_t seeds_of_today(void)
{
    return (uint64_t)time(NULL) / 86400 * 10000000;
}

static int gate(void)
{
    struct sim_run_options opt = {.processes = 2, .seconds = 30, .first = 1, .out = "sim-failures"};
    int rc = sim_run(&opt);
    opt.first = seeds_of_today();
    return sim_run(&opt) != 0 || rc != 0;
}

static int run_many(int argc, char **argv)
{
    struct sim_run_options opt = {.processes = 2, .first = 1, .out = "sim-failures"};
    int c;
    while ((c = getopt(argc, argv, "j:t:n:s:o:")) != -1) {
        unsigned long long n = strtoull(optarg, NULL, 10);
        if (c == 'j')
            opt.processes = (unsigned)n;
        else if (c == 't')
            opt.seconds = (unsigned)n;
        else if (c == 'n')
            opt.count = n;
        else if (c == 's')
            opt.first = strcmp(optarg, "day") == 0 ? seeds_of_today() : n;
        else if (c == 'o')
            opt.out = optarg;
        else
            return usage();
    }
    return sim_run(&opt);
}

static int play_one(const struct sim_program *p, bool loud)
{
    char why[SIM_WHY];
    size_t step;
    int rc = sim_run_one(p, loud, 0, why, &step, NULL);
    if (rc == 0) {
        printf("no fault\n");
        return 0;
    }
    printf("fault at step %zu", step);
    if (step < p->count) {
        printf(": ");
        sim_step_write(&p->steps[step], stdout);
    } else {
        printf(" (the end)\n");
    }
    printf("%s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    static struct sim_program p;
    if (argc < 2)
        return usage();
    /* What the dynamic linker has bound here no daemon has to bind again. */
    if (getenv("LD_BIND_NOW") == NULL && setenv("LD_BIND_NOW", "1", 1) == 0)
        (void)execv("/proc/self/exe", argv);
    const char *verb = argv[1];
    if (strcmp(verb, "run") == 0)
        return run_many(argc - 1, argv + 1);
    if (strcmp(verb, "gate") == 0)
        return gate();
    if (strcmp(verb, "selftest") == 0)
        return sim_selftest();
    if (argc < 3)
        return usage();
    if (strcmp(verb, "draw") == 0 || strcmp(verb, "seed") == 0)
        sim_program_draw(&p, strtoull(argv[2], NULL, 10));
    else if (load(&p, argv[2]) != 0)
        return 2;
    if (strcmp(verb, "draw") == 0) {
        sim_program_write(&p, stdout);
        return 0;
    }
    if (strcmp(verb, "shrink") == 0)
        return sim_shrink(&p);
    return play_one(&p, argc > 3 || strcmp(verb, "play") == 0);
}
