/* SPDX-License-Identifier: MIT */
/*
 * Work on a whole volume that takes long: done by the daemon of a mount, or here on a store that is
 * not mounted, with the same progress and the same result.
 */
#ifndef FOLD_FS_CLI_ERRAND_H
#define FOLD_FS_CLI_ERRAND_H

#include "fs/cli/cli.h"
#include "fs/cli/meter.h"

#include <jansson.h>

struct fold_session;

/* What an operand MOUNTPOINT|STORE shall have done to it. */
struct fold_errand {
    const struct fold_verb *verb; /* its name is the daemon's name for the work, too */
    json_t *args;                 /* for the daemon; taken over */
    const void *arg;              /* for `offline` */
    /* Does the work on an open session that nobody else uses; *result is a new reference.
     * -ECANCELED with a result: it was interrupted, and that is no failure. */
    int (*offline)(struct fold_errand *e, struct fold_session *s, json_t **result);
    struct fold_meter meter; /* zero */
};

/* What gc and scrub are asked for. */
struct fold_errand_wish {
    bool flag; /* the option that each has of its own */
    bool as_json;
    uint64_t rate; /* --rate; 0: no limit */
    const char *operand;
};

/* Reads --rate (r), --json (j), the option `flag`, and one operand. True: go on. Else *code is the
 * exit code; what is wrong was said. */
bool fold_errand_ask(const struct fold_verb *verb, int argc, char **argv, int flag,
                     struct fold_errand_wish *w, int *code);

/* Runs it; *result is a new reference or NULL. Returns the exit code, what failed was said. */
int fold_errand_run(struct fold_errand *e, const char *operand, json_t **result) FOLD_MUST;

/* For `offline`: shows how far it is, and whether the user interrupted it. */
void fold_errand_progress(struct fold_errand *e, const char *step, uint64_t done, uint64_t total);
bool fold_errand_interrupted(void);

#endif
