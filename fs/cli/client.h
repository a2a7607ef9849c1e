/* SPDX-License-Identifier: MIT */
/*
 * The client of a live mount: finds the daemon from a mount point or a store, asks it over a
 * control socket (fs/endpoint.h).
 */
#ifndef FOLD_FS_CLI_CLIENT_H
#define FOLD_FS_CLI_CLIENT_H

#include "meta/base/attr.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct fold_mount;

/* What an operand "MOUNTPOINT|STORE" means. Zero-initialise; free with fold_target_free. */
struct fold_target {
    char *store;    /* absolute path */
    char *point;    /* where it is mounted, NULL if nowhere in this namespace */
    bool read_only; /* it is mounted so */
    int fd;         /* control connection, -1 if no daemon answers */
    pid_t pid;      /* the daemon, 0 if not known */
    int pidfd;      /* the same as a descriptor, -1 if not known */
};

#define FOLD_TARGET_NONE                                                                           \
    {                                                                                              \
        .fd = -1, .pidfd = -1                                                                      \
    }

/* What a daemon says of itself. */
enum fold_daemon_state { FOLD_DAEMON_NOT_MOUNTED, FOLD_DAEMON_SERVING, FOLD_DAEMON_CLOSING };
struct fold_daemon {
    enum fold_daemon_state state;
    pid_t pid;
    dev_t dev;     /* of its mount, 0 if none */
    char uuid[40]; /* of its volume */
};

/*
 * Resolves the operand and connects to the daemon if there is one (fd is -1 otherwise, which is no
 * error). On failure `why` holds a whole sentence: -ENOENT, -ENOTDIR, -EACCES, -FOLD_E_NOT_A_STORE,
 * ...
 */
int fold_target_find(const char *operand, struct fold_target *out, char *why,
                     size_t why_size) FOLD_MUST;
void fold_target_free(struct fold_target *t);

/* The same for a mount that was found already; `why` is not needed: -EACCES, -errno. */
int fold_target_of_mount(const struct fold_mount *mount, struct fold_target *out) FOLD_MUST;

/* Asks the daemon that answers in the store directory `storefd` what it is about. -ENOENT or
 * -ECONNREFUSED if there is none, -ETIMEDOUT if it does not answer, ... */
int fold_client_about(int storefd, struct fold_daemon *out) FOLD_MUST;

/* Called with each progress object (borrowed). */
typedef void (*fold_client_progress)(void *arg, const json_t *progress);

/*
 * Sends a request on a fresh connection `fd` (used up by it) and waits for the final answer, at
 * most `quiet_s` seconds between lines (0: for ever). `args` is taken over, may be NULL. On success
 * *result (if asked for) is a new reference. On failure `why` is a sentence and the code is the
 * daemon's own, -EPIPE if it went away, -ETIMEDOUT, -EPROTO.
 */
int fold_client_call(int fd, const char *verb, json_t *args, unsigned quiet_s,
                     fold_client_progress progress, void *arg, json_t **result, char *why,
                     size_t why_size) FOLD_MUST;

/* Results as all commands print them: on standard output, indented. */
void fold_json_print(const json_t *value);

#endif
