/* SPDX-License-Identifier: MIT */
/*
 * foldfs gc: gives the space of deleted data back, on a live mount or on a store that is not
 * mounted.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/client.h"
#include "fs/collector.h"
#include "fs/session.h"
#include "fs/stats.h"
#include "meta/base/err.h"

#include <inttypes.h>
#include <unistd.h>

static const struct fold_cli_option options[] = {
    {'f', "full", NULL, "also collect segments with little garbage, and compact the catalog"},
    {'r', "rate", "BYTES",
     "copy at most that many bytes a second (K, M, G allowed; default: no limit)"},
    {'j', "json", NULL, "print the result as JSON"},
    {0, NULL, NULL, NULL},
};

static void show(const char *step, uint64_t done, uint64_t total)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%-8s %" PRIu64 "/%" PRIu64 "   ", step, done, total);
}

static void live_progress(void *arg, const json_t *p)
{
    (void)arg;
    show(json_string_value(json_object_get(p, "step")),
         (uint64_t)json_integer_value(json_object_get(p, "done")),
         (uint64_t)json_integer_value(json_object_get(p, "total")));
}

static void local_progress(void *arg, const struct fold_collect_progress *p)
{
    (void)arg;
    show(p->step, p->done, p->total);
}

static int collect_store(const char *store, bool full, uint64_t rate, json_t **result)
{
    struct fold_mount_options opt;
    fold_mount_options_init(&opt, geteuid() == 0);
    struct fold_session *s;
    int rc = fold_session_open(store, &opt, &s);
    if (rc != 0)
        return rc;
    struct fold_collect_options how = {.full = full, .rate = rate, .progress = local_progress};
    struct fold_collect_result r;
    rc = fold_collector_run(s->collector, &how, &r);
    int closed = fold_session_close(s);
    if (rc == 0)
        rc = closed;
    if (rc == 0)
        *result = fold_stats_gc_json(&r);
    return rc;
}

static void print_result(const json_t *r, bool as_json)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%40s\r", "");
    if (as_json) {
        json_dumpf(r, stdout, JSON_INDENT(2));
        putchar('\n');
        return;
    }
    char text[32];
    printf("%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " segments removed, %s freed",
           json_integer_value(json_object_get(r, "segments_removed")),
           json_integer_value(json_object_get(r, "segments_seen")),
           fold_size_exact((uint64_t)json_integer_value(json_object_get(r, "freed_bytes")), text,
                           sizeof text));
    printf(", %s of garbage left in place\n",
           fold_size_exact((uint64_t)json_integer_value(json_object_get(r, "garbage_bytes")), text,
                           sizeof text));
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    const char *value;
    char why[256];
    bool full = false, as_json = false;
    uint64_t rate = 0;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        full = full || id == 'f';
        as_json = as_json || id == 'j';
        if (id == 'r' && (fold_size_parse(value, &rate) != 0 || rate == 0 || rate > INT64_MAX))
            return fold_cli_misuse(verb, "--rate %s: not a number of bytes", value);
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    if (operands == NULL)
        return cli.exit;
    struct fold_target target = {.fd = -1};
    int rc = fold_target_find(operands[0], &target, why, sizeof why);
    if (rc != 0)
        return fold_cli_fail(verb, fold_cli_exit_code(rc), "%s", why);
    json_t *result = NULL;
    int code = FOLD_EXIT_OK;
    if (target.fd >= 0) {
        json_t *args = json_pack("{s:b, s:I}", "full", full, "rate", (json_int_t)rate);
        rc = fold_client_call(target.fd, "gc", args, 0, live_progress, NULL, &result, why,
                              sizeof why);
        if (rc != 0)
            code = fold_cli_fail(verb, fold_cli_exit_code(rc), "'%s': %s", operands[0], why);
    } else if (target.point != NULL) {
        code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM,
                             "the daemon of '%s' does not answer, or the mount is read-only",
                             target.point);
    } else {
        rc = collect_store(target.store, full, rate, &result);
        if (rc != 0)
            code = fold_cli_fail(verb, fold_cli_exit_code(rc), "'%s': %s", operands[0],
                                 fold_err_text(rc));
    }
    if (result != NULL)
        print_result(result, as_json);
    json_decref(result);
    fold_target_free(&target);
    return code;
}

const struct fold_verb fold_verb_gc = {
    .name = "gc",
    .synopsis = "[--full] [--rate BYTES] MOUNTPOINT|STORE",
    .summary = "give the space of deleted data back now",
    .details = "A mount collects by itself when enough was deleted; this does it at once. Without\n"
               "--full, segments of which less than half is dead are left as they are.\n",
    .options = options,
    .run = run,
};
