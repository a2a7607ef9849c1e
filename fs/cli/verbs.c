/* SPDX-License-Identifier: MIT */
/*
 * From the command line to a verb.
 */
#include "fs/cli/verbs.h"

#include "asm/cpu.h"
#include "meta/base/say.h"

#include <stdlib.h>

static const struct fold_verb *const verbs[] = {
#define FOLD_VERB(name) &fold_verb_##name,
#include "fs/cli/verbs.def"
#undef FOLD_VERB
};

struct link {
    const char *program;
    const struct fold_verb *verb;
};

static const struct link links[] = {
    {"mkfs.foldfs", &fold_verb_mkfs},
    {"mount.foldfs", &fold_verb_mount_helper},
    {"mount.fuse.foldfs", &fold_verb_mount_helper},
    {"umount.foldfs", &fold_verb_umount_helper},
    {"umount.fuse.foldfs", &fold_verb_umount_helper},
};

static const struct fold_verb *find(const char *name)
{
    for (size_t i = 0; i < FOLD_ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static void usage(FILE *out)
{
    fputs("Usage: foldfs VERB [OPTIONS] OPERANDS\n\n"
          "A filesystem that keeps every distinct piece of data once.\n\nVerbs:\n",
          out);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(verbs); i++)
        fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("  help       print this, or the help of a verb\n"
          "  version    print the version\n"
          "\n'foldfs VERB --help' says more about each.\n",
          out);
}

static int version(void)
{
    puts("foldfs " FOLD_VERSION);
    return FOLD_EXIT_OK;
}

static int no_verb(const char *name)
{
    fold_say(stderr, "foldfs: there is no verb '%s'", name);
    fputs("Try 'foldfs --help'.\n", stderr);
    return FOLD_EXIT_USAGE;
}

static int help(const char *name)
{
    if (name == NULL) {
        usage(stdout);
        return FOLD_EXIT_OK;
    }
    const struct fold_verb *verb = find(name);
    if (verb == NULL)
        return no_verb(name);
    fold_cli_help(verb, stdout);
    return FOLD_EXIT_OK;
}

/* Output that could not be written is a failure too. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return code;
    fprintf(stderr, "foldfs: cannot write to standard output\n");
    return code != FOLD_EXIT_OK ? code : FOLD_EXIT_SYSTEM;
}

/* Whoever forces a level must not get another one: a level that does not exist stops every verb. */
static bool level_exists(void)
{
    unsigned flags = 0;
    const char *level = getenv("FOLDFS_CPU");
    if (level == NULL || *level == '\0' || fold_cpu_limit(&flags, level))
        return true;
    fold_say(stderr, "foldfs: FOLDFS_CPU=%s is no level: use scalar, sse42, avx2 or avx512", level);
    return false;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    return level_exists() ? finish(verb->run(verb, argc, argv)) : FOLD_EXIT_USAGE;
}

int fold_verbs_main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *program = slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "foldfs";
    for (size_t i = 0; i < FOLD_ARRAY_LEN(links); i++)
        if (strcmp(links[i].program, program) == 0)
            return run(links[i].verb, argc, argv);
    if (argc < 2) {
        usage(stderr);
        return FOLD_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return finish(help(NULL));
    if (strcmp(argv[1], "help") == 0)
        return finish(help(argc > 2 ? argv[2] : NULL));
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0 ||
        strcmp(argv[1], "version") == 0)
        return finish(version());
    const struct fold_verb *verb = find(argv[1]);
    if (verb == NULL)
        return no_verb(argv[1]);
    return run(verb, argc - 1, argv + 1);
}
