/* SPDX-License-Identifier: MIT */
/*
 * Brings together what a scrub needs of the session, and turns its result into a report.
 */
#include "fs/scrubber.h"

#include "fs/session.h"
#include "hashing/fingerprint.h"
#include "meta/base/clock.h"
#include "meta/base/knob.h"
#include "meta/scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define NAP_MS 20

static atomic_bool running; /* a process has one volume open */

struct call {
    struct fold_hasher hasher;
    const struct fold_scrubber_options *opt;
};

static bool matches(void *arg, const void *raw, size_t len, const struct fold_fp *fp)
{
    struct call *c = arg;
    struct fold_fp is;
    fold_hasher_one(&c->hasher, raw, len, &is);
    return fold_fp_equal(&is, fp);
}

static void progress(void *arg, uint64_t done, uint64_t total)
{
    struct call *c = arg;
    if (c->opt->progress != NULL)
        c->opt->progress(c->opt->arg, done, total);
}

static bool cancelled(void *arg)
{
    struct call *c = arg;
    return c->opt->cancelled != NULL && c->opt->cancelled(c->opt->arg);
}

/* One at a time. A run whose caller was interrupted needs a moment to notice: whoever asks next
 * waits that long. */
static bool take_turn(struct call *c)
{
    const struct timespec nap = {.tv_nsec = NAP_MS * 1000000};
    uint64_t start = fold_clock_ms();
    while (atomic_exchange(&running, true)) {
        if (cancelled(c) || fold_clock_ms() - start >= fold_knobs.scrub_turn_ms)
            return false;
        (void)nanosleep(&nap, NULL);
    }
    return true;
}

static json_t *damage_json(const struct fold_scrub_damage *d)
{
    char seg[16], fp[40] = "unknown";
    json_t *files = json_array();
    (void)snprintf(seg, sizeof seg, "%08" PRIx32, d->loc.seg);
    if (d->fp_known)
        (void)snprintf(fp, sizeof fp, "%016" PRIx64 "%016" PRIx64, d->fp.w[0], d->fp.w[1]);
    for (size_t i = 0; d->files != NULL && i < d->file_count; i++) {
        json_t *name = json_string(d->files[i]);
        if (name == NULL)
            name = json_sprintf("inode %" PRIu64, d->inos[i]); /* a name that is no UTF-8 */
        json_array_append_new(files, name);
    }
    return json_pack("{s:s, s:I, s:s, s:s, s:o}", "segment", seg, "offset", (json_int_t)d->loc.off,
                     "fingerprint", fp, "what", d->what, "files", files);
}

static json_t *result_json(const struct fold_scrub_result *r, bool complete)
{
    json_t *damage = json_array();
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(damage, damage_json(&r->damage[i]));
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "complete", complete, "segments",
                     (json_int_t)r->segments, "chunks", (json_int_t)r->chunks, "bytes",
                     (json_int_t)r->bytes, "resumed_at", (json_int_t)r->resumed_at, "not_listed",
                     (json_int_t)r->not_listed, "damaged", damage);
}

int fold_scrubber_run(struct fold_session *s, const struct fold_scrubber_options *opt,
                      json_t **report)
{
    struct call c = {.opt = opt};
    *report = NULL;
    if (!take_turn(&c))
        return -EBUSY;
    fold_hasher_init(&c.hasher, (enum fold_hash_kind)s->volume->params.hash,
                     s->volume->params.secret);
    struct fold_scrub_options how = {
        .rate = opt->rate,
        .restart = opt->restart,
        .arg = &c,
        .matches = matches,
        .progress = progress,
        .cancelled = cancelled,
    };
    struct fold_scrub_result r;
    int rc = fold_scrub_run(s->volume->store, s->volume->catalog, s->gate, s->volume->fd, &how, &r);
    if (rc == 0 || rc == -ECANCELED)
        *report = result_json(&r, rc == 0);
    if (rc == 0 && *report == NULL)
        rc = -ENOMEM;
    fold_scrub_free(&r);
    atomic_store(&running, false);
    return rc;
}
