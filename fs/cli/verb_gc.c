/* SPDX-License-Identifier: MIT */
/*
 * foldfs gc: gives the space of deleted data back, on a live mount or on a store that is not
 * mounted.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/client.h"
#include "fs/cli/errand.h"
#include "fs/collector.h"
#include "fs/session.h"
#include "fs/stats.h"
#include "meta/base/say.h"

static const struct fold_cli_option options[] = {
    {'f', "full", NULL, "also collect segments with little garbage, and compact the catalog"},
    {'r', "rate", "BYTES",
     "copy at most that many bytes a second (K, M, G allowed; default: no limit)"},
    {'j', "json", NULL, "print the result as JSON"},
    {0, NULL, NULL, NULL},
};

static void progress(void *arg, const struct fold_collect_progress *p)
{
    fold_errand_progress(arg, p->step, p->done, p->total);
}

static bool cancelled(void *arg)
{
    (void)arg;
    return fold_errand_interrupted();
}

static int collect(struct fold_errand *e, struct fold_session *s, json_t **result)
{
    const struct fold_errand_wish *w = e->arg;
    struct fold_collect_options how = {
        .full = w->flag, .rate = w->rate, .arg = e, .progress = progress, .cancelled = cancelled};
    struct fold_collect_result r;
    int rc = fold_collector_run(s->collector, &how, &r);
    if (rc == 0)
        *result = fold_stats_gc_json(&r);
    return rc;
}

static void print_text(const json_t *r)
{
    char freed[32], punched[32], left[32];
    fold_say(stdout,
             "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
             " segments removed, %s freed, %s punched out of %" JSON_INTEGER_FORMAT
             " others, %s of garbage left in place",
             json_integer_value(json_object_get(r, "segments_removed")),
             json_integer_value(json_object_get(r, "segments_seen")),
             fold_size_exact((uint64_t)json_integer_value(json_object_get(r, "freed_bytes")), freed,
                             sizeof freed),
             fold_size_exact((uint64_t)json_integer_value(json_object_get(r, "punched_bytes")),
                             punched, sizeof punched),
             json_integer_value(json_object_get(r, "segments_punched")),
             fold_size_exact((uint64_t)json_integer_value(json_object_get(r, "garbage_bytes")),
                             left, sizeof left));
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_errand_wish w;
    int code;
    if (!fold_errand_ask(verb, argc, argv, 'f', &w, &code))
        return code;
    struct fold_errand errand = {
        .verb = verb,
        .args = json_pack("{s:b, s:I}", "full", w.flag, "rate", (json_int_t)w.rate),
        .arg = &w,
        .offline = collect,
    };
    json_t *result;
    code = fold_errand_run(&errand, w.operand, &result);
    if (result != NULL && w.as_json)
        fold_json_print(result);
    else if (result != NULL)
        print_text(result);
    json_decref(result);
    return code;
}

const struct fold_verb fold_verb_gc = {
    .name = "gc",
    .synopsis = "[--full] [--rate BYTES] [--json] MOUNTPOINT|STORE",
    .summary = "give the space of deleted data back now",
    .details = "A mount collects by itself when enough was deleted; this does it at once. Without\n"
               "--full, only long dead runs go from segments of which less than half is dead.\n",
    .options = options,
    .run = run,
};
