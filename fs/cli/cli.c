/* SPDX-License-Identifier: MIT */
/*
 * Parsing, help and failure of all verbs, on getopt_long.
 */
#include "fs/cli/cli.h"

#include "meta/base/err.h"
#include "meta/base/say.h"

#include <assert.h>
#include <stdarg.h>

#define HELP_ID 255

void fold_cli_begin(struct fold_cli *cli, const struct fold_verb *verb, int argc, char **argv)
{
    size_t n = 0;
    char *s = cli->shorts;
    memset(cli, 0, sizeof *cli);
    cli->verb = verb;
    cli->argc = argc;
    cli->argv = argv;
    *s++ = ':';
    *s++ = 'h';
    for (const struct fold_cli_option *o = verb->options; o != NULL && o->name != NULL; o++) {
        assert(n < FOLD_CLI_OPTIONS);
        cli->longs[n++] =
            (struct option){.name = o->name,
                            .has_arg = o->arg != NULL ? required_argument : no_argument,
                            .val = o->id};
        if (o->id > HELP_ID)
            continue;
        *s++ = (char)o->id;
        if (o->arg != NULL)
            *s++ = ':';
    }
    cli->longs[n] = (struct option){.name = "help", .has_arg = no_argument, .val = HELP_ID};
    optind = 0; /* a full restart of getopt */
    opterr = 0;
}

/* `word` is the last one getopt is through with: not the one at fault among joined letters. */
static int unknown(const struct fold_cli *cli, const char *word)
{
    if (optopt == 0)
        return fold_cli_misuse(cli->verb, "unknown option '%s'", word);
    if (strncmp(word, "--", 2) == 0 && strchr(word, '=') != NULL)
        return fold_cli_misuse(cli->verb, "option '%s' takes no value", word);
    return fold_cli_misuse(cli->verb, "unknown option '-%c'", optopt);
}

int fold_cli_next(struct fold_cli *cli, const char **value)
{
    int id = getopt_long(cli->argc, cli->argv, cli->shorts, cli->longs, NULL);
    *value = optarg;
    switch (id) {
    case -1:
        return FOLD_CLI_END;
    case 'h':
    case HELP_ID:
        fold_cli_help(cli->verb, stdout);
        cli->exit = FOLD_EXIT_OK;
        return FOLD_CLI_EXIT;
    case ':':
        cli->exit = fold_cli_misuse(cli->verb, "option '%s' needs a value", cli->argv[optind - 1]);
        return FOLD_CLI_EXIT;
    case '?':
        cli->exit = unknown(cli, cli->argv[optind - 1]);
        return FOLD_CLI_EXIT;
    default:
        return id;
    }
}

char **fold_cli_operands(struct fold_cli *cli, int min, int max, int *count)
{
    int n = cli->argc - optind;
    if (n < min || n > max) {
        cli->exit =
            fold_cli_misuse(cli->verb, "%s operands (usage: foldfs %s %s)",
                            n < min ? "missing" : "too many", cli->verb->name, cli->verb->synopsis);
        return NULL;
    }
    if (count != NULL)
        *count = n;
    return cli->argv + optind;
}

int fold_cli_fail(const struct fold_verb *verb, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "foldfs %s: ", verb->name);
    fold_vsay(stderr, fmt, ap);
    va_end(ap);
    return code;
}

int fold_cli_misuse(const struct fold_verb *verb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "foldfs %s: ", verb->name);
    fold_vsay(stderr, fmt, ap);
    fprintf(stderr, "Try 'foldfs %s --help'.\n", verb->name);
    va_end(ap);
    return FOLD_EXIT_USAGE;
}

int fold_cli_exit_code(int rc)
{
    switch (-rc) {
    case 0:
        return FOLD_EXIT_OK;
    case EACCES:
    case EPERM:
        return FOLD_EXIT_USAGE;
    case EBUSY:
    case FOLD_E_LOCKED:
        return FOLD_EXIT_BUSY;
    case ENOENT:
    case ENOTDIR:
    case FOLD_E_NOT_A_STORE:
    case FOLD_E_STORE_EXISTS:
    case FOLD_E_NEWER_FORMAT:
    case FOLD_E_UNKNOWN_FEATURE:
    case FOLD_E_BAD_SUPERBLOCK:
    case FOLD_E_BAD_RECORD:
    case FOLD_E_BAD_SEGMENT:
    case FOLD_E_BAD_RECIPE:
    case FOLD_E_BAD_CATALOG:
    case FOLD_E_BAD_JOURNAL:
    case FOLD_E_LOST_CHUNK:
        return FOLD_EXIT_STORE;
    default:
        return FOLD_EXIT_SYSTEM;
    }
}

int fold_cli_mount_code(int rc)
{
    int code = fold_cli_exit_code(rc);
    return code == FOLD_EXIT_STORE || code == FOLD_EXIT_BUSY ? FOLD_EXIT_MOUNT : code;
}

void fold_cli_help(const struct fold_verb *verb, FILE *out)
{
    fprintf(out, "Usage: foldfs %s %s\n\n%c%s.\n", verb->name, verb->synopsis,
            verb->summary[0] & ~0x20, verb->summary + 1);
    if (verb->details != NULL)
        fprintf(out, "\n%s", verb->details);
    fputs("\nOptions:\n", out);
    for (const struct fold_cli_option *o = verb->options; o != NULL && o->name != NULL; o++) {
        char left[64];
        int n = 0;
        if (o->id < HELP_ID)
            n = snprintf(left, sizeof left, "-%c, ", o->id);
        snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", o->name, o->arg != NULL ? " " : "",
                 o->arg != NULL ? o->arg : "");
        fprintf(out, "  %-26s %s\n", left, o->help);
    }
    fprintf(out, "  %-26s %s\n", "--help", "print this and exit");
    if (verb->more_help != NULL)
        verb->more_help(out);
}
