/* SPDX-License-Identifier: MIT */
/*
 * The table of verbs. A new verb is a file verb_<name>.c that defines one struct fold_verb, and a
 * line in verbs.def.
 */
#ifndef FOLD_FS_CLI_VERBS_H
#define FOLD_FS_CLI_VERBS_H

#include "fs/cli/cli.h"

#define FOLD_VERB(name) extern const struct fold_verb fold_verb_##name;
#include "fs/cli/verbs.def"
#undef FOLD_VERB

/* What mount(8) and umount(8) call: found by the name of the program only. */
extern const struct fold_verb fold_verb_mount_helper;
extern const struct fold_verb fold_verb_umount_helper;

/*
 * Finds the verb: by the name the program was called by (mkfs.foldfs, mount.foldfs, ...), else by
 * the first argument. Runs it and returns its exit code.
 */
int fold_verbs_main(int argc, char **argv);

#endif
