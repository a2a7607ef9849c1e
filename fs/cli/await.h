/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a store that is about to be free: a daemon goes on for a while after its mount is
 * gone, until everything is durable.
 */
#ifndef FOLD_FS_CLI_AWAIT_H
#define FOLD_FS_CLI_AWAIT_H

#include "fs/cli/cli.h"

/*
 * Returns 0 once the lock of the store (absolute path) can be had, shared or not, or if it cannot
 * be told: the attempt will show. A daemon that is closing the store is waited for, and after a
 * moment that is said on stderr. -FOLD_E_LOCKED if the store is in use otherwise, or for too long;
 * `why` then is a whole sentence, which names the mount or the process. No other threads may exist.
 */
int fold_store_await(const struct fold_verb *verb, const char *store, bool shared, char *why,
                     size_t why_size) FOLD_MUST;

#endif
