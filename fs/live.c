/* SPDX-License-Identifier: MIT */
/*
 * The table of live verbs. Handlers run on the control object's threads.
 */
#include "fs/live.h"

#include "fs/collector.h"
#include "fs/control.h"
#include "fs/flush.h"
#include "fs/loop.h"
#include "fs/scrubber.h"
#include "fs/refold.h"
#include "fs/session.h"
#include "fs/stats.h"
#include "hashing/dedup.h"
#include "meta/usage.h"

#include <errno.h>
#include <sys/sysmacros.h>

/* The result of a request; null stands for memory that was short. */
static int give(struct fold_control_reply *reply, json_t *result)
{
    if (result == NULL)
        return -ENOMEM;
    fold_control_result(reply, result);
    return 0;
}

/* A progress line; a client that cannot be told is met by `cancelled`. */
static void tell(void *reply, const char *step, uint64_t done, uint64_t total)
{
    json_t *line = json_pack("{s:s, s:I, s:I}", "step", step, "done", (json_int_t)done, "total",
                             (json_int_t)total);
    if (line != NULL)
        (void)fold_control_progress(reply, line);
}

static bool cancelled(void *reply)
{
    return fold_control_cancelled(reply);
}

/* Bytes a second, 0 for no limit, as the argument "rate" says. */
static int get_rate(const json_t *args, uint64_t *rate)
{
    json_int_t n = json_integer_value(json_object_get(args, "rate"));
    *rate = n > 0 ? (uint64_t)n : 0;
    return n >= 0 ? 0 : -EINVAL;
}

static int live_about(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    dev_t dev = atomic_load(&s->device);
    const char *state = atomic_load(&s->closing) ? "closing" : dev != 0 ? "serving" : "not mounted";
    char uuid[FOLD_UUID_TEXT];
    (void)args;
    fold_stats_uuid(s->volume->params.uuid, uuid);
    json_t *about =
        json_pack("{s:i, s:s, s:s, s:s, s:b}", "pid", (int)getpid(), "version", FOLD_VERSION,
                  "uuid", uuid, "state", state, "read_only", s->opt.read_only);
    if (about == NULL)
        return -ENOMEM;
    if (dev != 0)
        (void)json_object_set_new(about, "device", json_sprintf("%u:%u", major(dev), minor(dev)));
    /* Left out if it is no UTF-8. */
    const char *point = atomic_load(&s->mountpoint);
    if (point != NULL)
        (void)json_object_set_new(about, "mountpoint", json_string(point));
    return give(reply, about);
}

static int live_stats(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    (void)args;
    struct fold_stats st;
    fold_stats_from_volume(s->volume, &st);
    struct fold_ingest_counts n;
    fold_dedup_counts(s->dedup, &n);
    st.mounted = true;
    st.transport = fold_loop_on_ring(atomic_load(&s->loop)) ? "uring" : "device";
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
        .refolded_bytes = s->refolder != NULL ? fold_refolder_bytes(s->refolder) : 0,
    };
    return give(reply, fold_stats_to_json(&st));
}

static int live_sync(void *session, json_t *args, struct fold_control_reply *reply)
{
    const struct fold_session *s = session;
    (void)args;
    (void)reply;
    return s->opt.read_only ? 0 : fold_flush_all(session);
}

static void gc_progress(void *arg, const struct fold_collect_progress *p)
{
    tell(arg, p->step, p->done, p->total);
}

static int live_gc(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    struct fold_collect_options opt = {
        .full = json_is_true(json_object_get(args, "full")),
        .arg = reply,
        .progress = gc_progress,
        .cancelled = cancelled,
    };
    struct fold_collect_result r;
    int rc = s->opt.read_only ? -EROFS : get_rate(args, &opt.rate);
    if (rc == 0)
        rc = fold_collector_run(s->collector, &opt, &r);
    return rc == 0 ? give(reply, fold_stats_gc_json(&r)) : rc;
}

/* {"inodes": [n, ...]} gives {"rows": [{...}, ...], "total": {...}}. */
static int live_du(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_session *s = session;
    const json_t *inodes = json_object_get(args, "inodes");
    size_t n = json_array_size(inodes);
    if (n == 0)
        return -EINVAL;
    struct fold_usage_options opt = {.arg = reply, .progress = tell, .cancelled = cancelled};
    FOLD_AUTO(free) fold_ino *from = calloc(n, sizeof *from);
    FOLD_AUTO(free) struct fold_usage *rows = calloc(n, sizeof *rows);
    struct fold_usage total;
    if (from == NULL || rows == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        from[i] = (fold_ino)json_integer_value(json_array_get(inodes, i));
    int rc = fold_collector_hold(s->collector, cancelled, reply);
    if (rc != 0)
        return rc;
    bool spared = false; /* to ask is no reason to store half a rewritten file */
    rc = s->opt.read_only ? 0 : fold_flush_due(s, &spared);
    if (rc == 0)
        rc = fold_usage_measure(s->volume->store, s->volume->catalog, from, n, &opt, rows, &total);
    fold_collector_release(s->collector);
    return rc == 0 ? give(reply, fold_stats_usage_json(rows, n, &total)) : rc;
}

static void scrub_progress(void *arg, uint64_t done, uint64_t total)
{
    tell(arg, "scrub", done, total);
}

static int live_scrub(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fold_scrubber_options opt = {
        .restart = json_is_true(json_object_get(args, "restart")),
        .arg = reply,
        .progress = scrub_progress,
        .cancelled = cancelled,
    };
    const struct fold_session *s = session;
    json_t *report = NULL;
    int rc = s->opt.read_only ? -EROFS : get_rate(args, &opt.rate);
    if (rc == 0)
        rc = fold_scrubber_run(session, &opt, &report);
    if (report != NULL)
        fold_control_result(reply, report);
    return rc;
}

static const struct fold_control_verb verbs[] = {
    {"about", live_about, true}, {"stats", live_stats, false}, {"sync", live_sync, false},
    {"gc", live_gc, false},      {"scrub", live_scrub, false}, {"du", live_du, false},
};

int fold_live_start(struct fold_session *s)
{
    int storefd = s->opt.read_only ? -1 : s->volume->fd;
    return fold_control_start(storefd, verbs, FOLD_ARRAY_LEN(verbs), s, &s->control);
}
