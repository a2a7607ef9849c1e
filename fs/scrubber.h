/* SPDX-License-Identifier: MIT */
/*
 * A scrub on an open session: one at a time, with the volume's fingerprints, as JSON.
 */
#ifndef FOLD_FS_SCRUBBER_H
#define FOLD_FS_SCRUBBER_H

#include "meta/base/attr.h"

#include <jansson.h>
#include <stdbool.h>

struct fold_session;

struct fold_scrubber_options {
    uint64_t rate; /* bytes per second; 0 = no limit */
    bool restart;
    void *arg; /* for the functions below, each of which may be NULL */
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    bool (*cancelled)(void *arg);
};

/* -EBUSY if one is running and goes on running for some seconds, -ECANCELED, -ENOMEM, -EIO. *report
 * is a new object, also after -ECANCELED; else NULL. */
int fold_scrubber_run(struct fold_session *s, const struct fold_scrubber_options *opt,
                      json_t **report) FOLD_MUST;

#endif
