/* SPDX-License-Identifier: MIT */
/*
 * foldfs sync: makes everything that was written to a live mount durable.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/await.h"
#include "fs/cli/client.h"

#include <errno.h>

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    struct fold_target target = FOLD_TARGET_NONE;
    const char *value;
    char why[4608];
    fold_cli_begin(&cli, verb, argc, argv);
    if (fold_cli_next(&cli, &value) == FOLD_CLI_EXIT)
        return cli.exit;
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    if (operands == NULL)
        return cli.exit;
    int rc = fold_target_find(operands[0], &target, why, sizeof why);
    if (rc != 0)
        return fold_cli_fail(verb, fold_cli_exit_code(rc), "%s", why);
    int code = FOLD_EXIT_OK;
    if (target.fd >= 0) {
        rc = fold_client_call(target.fd, "sync", NULL, 0, NULL, NULL, NULL, why, sizeof why);
        if (rc == -ESHUTDOWN) { /* it is being closed, which makes everything durable */
            rc = fold_store_await(verb, target.store, true, why, sizeof why);
            if (rc != 0)
                code = fold_cli_fail(verb, fold_cli_exit_code(rc), "%s", why);
        } else if (rc != 0) {
            code = fold_cli_fail(verb, fold_cli_exit_code(rc), "'%s': %s", operands[0], why);
        }
    } else if (target.point != NULL && !target.read_only) {
        code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM, "the daemon of '%s' does not answer",
                             target.point);
    }
    fold_target_free(&target);
    return code;
}

const struct fold_verb fold_verb_sync = {
    .name = "sync",
    .synopsis = "MOUNTPOINT|STORE",
    .summary = "make everything written so far durable",
    .details = "sync(1) does not reach a FUSE filesystem; this does. What is not mounted, or\n"
               "mounted read-only, is durable already.\n",
    .run = run,
};
