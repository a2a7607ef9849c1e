/* SPDX-License-Identifier: MIT */
/*
 * What all verbs of the command line share: how they are described, parsed, how they fail, and
 * their exit codes.
 */
#ifndef FOLD_FS_CLI_CLI_H
#define FOLD_FS_CLI_CLI_H

#include "meta/base/attr.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

/* Exit codes, listed in the man pages. mount and umount keep to those of mount(8): everything after
 * SYSTEM is MOUNT there. */
enum fold_exit {
    FOLD_EXIT_OK = 0,
    FOLD_EXIT_USAGE = 1,  /* wrong invocation, or no permission */
    FOLD_EXIT_SYSTEM = 2, /* the system refused: memory, I/O, space, no /dev/fuse */
    FOLD_EXIT_STORE = 3,  /* the store is missing, not a store, damaged or too new */
    FOLD_EXIT_BUSY = 4,   /* the store is in use */
    FOLD_EXIT_MOUNT = 32  /* mounting or unmounting failed */
};

/* One option of a verb. `id` is its letter, or a number above 255 if it has none. */
struct fold_cli_option {
    int id;
    const char *name;
    const char *arg; /* what the help calls its value; NULL if it takes none */
    const char *help;
};

#define FOLD_CLI_OPTIONS 16

struct fold_verb {
    const char *name;
    const char *synopsis;                  /* what follows the name */
    const char *summary;                   /* one line, lower case */
    const char *details;                   /* paragraphs for --help, or NULL */
    const struct fold_cli_option *options; /* ends in a NULL name, or NULL; --help is added */
    void (*more_help)(FILE *out);          /* or NULL */
    int (*run)(const struct fold_verb *verb, int argc,
               char **argv); /* argv[0] is the verb; returns an exit code */
};

/* State of parsing one command line. */
struct fold_cli {
    const struct fold_verb *verb;
    int argc;
    char **argv;
    int exit; /* after FOLD_CLI_EXIT: the exit code */
    struct option longs[FOLD_CLI_OPTIONS + 2];
    char shorts[2 * FOLD_CLI_OPTIONS + 8];
};

#define FOLD_CLI_END  0
#define FOLD_CLI_EXIT (-1)

void fold_cli_begin(struct fold_cli *cli, const struct fold_verb *verb, int argc, char **argv);

/*
 * The next option's id and value; FOLD_CLI_END when only operands are left; FOLD_CLI_EXIT if --help
 * was served or something is wrong (said on stderr).
 */
int fold_cli_next(struct fold_cli *cli, const char **value);

/* The operands, between `min` and `max` of them; NULL with cli->exit set if there are fewer or more
 * (said on stderr). */
char **fold_cli_operands(struct fold_cli *cli, int min, int max, int *count);

/* One sentence on stderr, "foldfs VERB: ...". Returns `code`. */
int fold_cli_fail(const struct fold_verb *verb, int code, const char *fmt, ...) FOLD_PRINTF(3, 4);

/* The same for a wrong invocation, pointing at --help. Returns FOLD_EXIT_USAGE. */
int fold_cli_misuse(const struct fold_verb *verb, const char *fmt, ...) FOLD_PRINTF(2, 3);

/* The exit code that fits a negative error code of foldfs. */
int fold_cli_exit_code(int rc);

/* The same for mount and umount. */
int fold_cli_mount_code(int rc);

/* Prints the help of one verb. */
void fold_cli_help(const struct fold_verb *verb, FILE *out);

#endif
