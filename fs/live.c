/* SPDX-License-Identifier: MIT */
/*
 * The table of live verbs. Handlers run on the control object's threads.
 */
#include "fs/live.h"

#include "fs/collector.h"
#include "fs/control.h"
#include "fs/flush.h"
#include "fs/scrubber.h"
#include "fs/refold.h"
#include "fs/session.h"
#include "fs/stats.h"
#include "hashing/dedup.h"
#include "meta/usage.h"

#include <errno.h>

static int live_stats(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    (void)args;
    struct fold_stats st;
    fold_stats_from_volume(s->volume, &st);
    struct fold_ingest_counts n;
    fold_dedup_counts(s->dedup, &n);
    st.mounted = true;
    st.ingest = (struct fold_stats_ingest){
        .bytes_in = n.bytes_in,
        .zero_bytes = n.zero_bytes,
        .duplicate_bytes = n.duplicate_bytes,
        .verified_bytes = n.verified_bytes,
        .filter_probes = n.filter_probes,
        .filter_negatives = n.filter_negatives,
        .filter_false_positives = n.filter_false_positives,
        .locality_hits = n.locality_hits,
        .index_lookups = n.index_lookups,
        .refolded_bytes = fold_refolder_bytes(s->refolder),
    };
    json_t *json = fold_stats_to_json(&st);
    if (json == NULL)
        return -ENOMEM;
    fold_control_result(reply, json);
    return 0;
}

static int live_sync(void *session, json_t *args, struct fold_control_reply *reply)
{
    (void)args;
    (void)reply;
    return fold_flush_all(session);
}

static void gc_progress(void *arg, const struct fold_collect_progress *p)
{
    json_t *line = json_pack("{s:s, s:I, s:I}", "step", p->step, "done", (json_int_t)p->done,
                             "total", (json_int_t)p->total);
    if (line != NULL)
        (void)fold_control_progress(arg, line);
}

static bool gc_cancelled(void *arg)
{
    return fold_control_cancelled(arg);
}

static int live_gc(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    struct fold_collect_options opt = {
        .full = json_is_true(json_object_get(args, "full")),
        .arg = reply,
        .progress = gc_progress,
        .cancelled = gc_cancelled,
    };
    json_int_t rate = json_integer_value(json_object_get(args, "rate"));
    if (rate < 0)
        return -EINVAL;
    opt.rate = (uint64_t)rate;
    struct fold_collect_result r;
    int rc = fold_collector_run(s->collector, &opt, &r);
    if (rc == 0)
        fold_control_result(reply, fold_stats_gc_json(&r));
    return rc;
}

static void du_progress(void *arg, const char *step, uint64_t done, uint64_t total)
{
    json_t *line = json_pack("{s:s, s:I, s:I}", "step", step, "done", (json_int_t)done, "total",
                             (json_int_t)total);
    if (line != NULL)
        (void)fold_control_progress(arg, line);
}

/* {"inodes": [n, ...]} gives {"rows": [{...}, ...], "total": {...}}. */
static int live_du(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    const json_t *inodes = json_object_get(args, "inodes");
    size_t n = json_array_size(inodes);
    if (n == 0)
        return -EINVAL;
    struct fold_usage_options opt = {
        .arg = reply, .progress = du_progress, .cancelled = gc_cancelled};
    FOLD_AUTO(free) fold_ino *from = calloc(n, sizeof *from);
    FOLD_AUTO(free) struct fold_usage *rows = calloc(n, sizeof *rows);
    struct fold_usage total;
    if (from == NULL || rows == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        from[i] = (fold_ino)json_integer_value(json_array_get(inodes, i));
    fold_collector_hold(s->collector);
    int rc = fold_flush_all(s);
    if (rc == 0)
        rc = fold_usage_measure(s->volume->store, s->volume->catalog, from, n, &opt, rows, &total);
    fold_collector_release(s->collector);
    if (rc == 0)
        fold_control_result(reply, fold_stats_usage_json(rows, n, &total));
    return rc;
}

static void scrub_progress(void *arg, uint64_t done, uint64_t total)
{
    json_t *line = json_pack("{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)total);
    if (line != NULL)
        (void)fold_control_progress(arg, line);
}

static int live_scrub(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_scrubber_options opt = {
        .restart = json_is_true(json_object_get(args, "restart")),
        .arg = reply,
        .progress = scrub_progress,
        .cancelled = gc_cancelled,
    };
    json_int_t rate = json_integer_value(json_object_get(args, "rate"));
    if (rate < 0)
        return -EINVAL;
    opt.rate = (uint64_t)rate;
    json_t *report;
    int rc = fold_scrubber_run(session, &opt, &report);
    if (report != NULL)
        fold_control_result(reply, report);
    return rc;
}

static const struct fold_control_verb verbs[] = {
    {"stats", live_stats}, {"sync", live_sync}, {"gc", live_gc},
    {"scrub", live_scrub}, {"du", live_du},
};

int fold_live_start(struct fold_session *s)
{
    if (s->opt.read_only)
        return 0;
    return fold_control_start(s->volume->fd, verbs, FOLD_ARRAY_LEN(verbs), s, &s->control);
}
