/* SPDX-License-Identifier: MIT */
/*
 * foldfs fsck: checks a store that is not mounted, and repairs it if asked to. Exit codes are those
 * of fsck(8).
 */
#include "fs/cli/verbs.h"

#include "fs/cli/await.h"
#include "fs/cli/client.h"
#include "fs/cli/meter.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/base/say.h"
#include "meta/check.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

/* As fsck(8) has them. */
enum { FSCK_CLEAN = 0, FSCK_CORRECTED = 1, FSCK_LEFT = 4, FSCK_FAILED = 8, FSCK_USAGE = 16 };

static const struct fold_cli_option options[] = {
    {'r', "repair", NULL, "repair what can be repaired"},
    {'i', "rebuild-index", NULL, "make the fingerprint index anew from the segments"},
    {'d', "data", NULL, "read all chunks and verify their checksums"},
    {'j', "json", NULL, "print the report as JSON"},
    {0, NULL, NULL, NULL},
};

static const char *const severities[] = {"note", "warning", "error"};

static void progress(void *arg, const char *step, uint64_t done, uint64_t total)
{
    fold_meter_show(arg, step, done, total);
}

/* Paths and names may hold any bytes; what is no UTF-8 cannot be put into JSON. */
static json_t *text(const char *bytes)
{
    json_t *s = json_string(bytes);
    return s != NULL ? s : json_string("(not UTF-8)");
}

static int print_json(const char *store, const struct fold_check_result *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->count; i++) {
        const struct fold_problem *p = &r->problems[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:o, s:b}", "code", p->code, "severity",
                                        severities[p->severity], "object", text(p->object),
                                        "message", text(p->message), "repaired", p->repaired));
    }
    json_t *all = json_pack(
        "{s:o, s:o, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "store", text(store),
        "problems", list, "errors", (json_int_t)r->errors, "repaired", (json_int_t)r->repaired,
        "not_listed", (json_int_t)r->dropped, "checked", "inodes", (json_int_t)r->inodes, "entries",
        (json_int_t)r->entries, "extents", (json_int_t)r->extents, "chunks", (json_int_t)r->chunks,
        "segments", (json_int_t)r->segments, "bytes_verified", (json_int_t)r->bytes_verified);
    if (all == NULL)
        return -ENOMEM;
    fold_json_print(all);
    json_decref(all);
    return 0;
}

static void print_text(const char *store, const struct fold_check_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct fold_problem *p = &r->problems[i];
        fold_say(stdout, "%s: %s: %s: %s%s", severities[p->severity], p->code, p->object,
                 p->message, p->repaired ? " (repaired)" : "");
    }
    if (r->dropped > 0)
        printf("and %" PRIu64 " more\n", r->dropped);
    char end[64] = "clean";
    if (r->errors != 0)
        (void)snprintf(end, sizeof end, "%" PRIu64 " problems, %" PRIu64 " repaired", r->errors,
                       r->repaired);
    fold_say(stdout,
             "%s: %" PRIu64 " inodes, %" PRIu64 " entries, %" PRIu64 " extents, %" PRIu64
             " chunks in %" PRIu64 " segments: %s",
             store, r->inodes, r->entries, r->extents, r->chunks, r->segments, end);
}

static int failed(const struct fold_verb *verb, const char *store, int rc)
{
    (void)fold_cli_fail(verb, FSCK_FAILED, "'%s': %s", store, fold_err_text(rc));
    return FSCK_FAILED;
}

static int check(const struct fold_verb *verb, const char *operand, struct fold_check_options *opt,
                 bool as_json)
{
    struct fold_check_result r;
    struct fold_target target = FOLD_TARGET_NONE;
    char why[4608];
    int rc = fold_target_find(operand, &target, why, sizeof why);
    bool writes = opt->repair || opt->rebuild_index;
    bool mounted = rc == 0 && target.point != NULL;
    bool used =
        rc == 0 && !mounted && fold_store_await(verb, target.store, !writes, why, sizeof why) != 0;
    /* A damaged superblock must not keep the check from saying so. */
    const char *store = rc == 0 && target.store != NULL ? target.store : operand;
    if (mounted) {
        fold_target_free(&target);
        return fold_cli_fail(
            verb, FSCK_FAILED,
            "'%s' is mounted; unmount it first, or verify its data with 'foldfs scrub'", operand);
    }
    if (used) {
        fold_target_free(&target);
        return fold_cli_fail(verb, FSCK_FAILED, "%s", why);
    }
    struct fold_meter meter = {0};
    opt->arg = &meter;
    opt->progress = progress;
    /* What the parts of the volume say to the log is in the report, too. */
    fold_log_set_level(FOLD_LOG_ERROR);
    rc = fold_check_run(store, opt, &r);
    fold_meter_end(&meter);
    int code;
    if (rc < 0) {
        code = failed(verb, store, rc);
    } else {
        code = r.errors == 0 ? FSCK_CLEAN : r.repaired == r.errors ? FSCK_CORRECTED : FSCK_LEFT;
        if (!as_json)
            print_text(store, &r);
        else if (print_json(store, &r) != 0)
            code = failed(verb, store, -ENOMEM);
    }
    fold_check_free(&r);
    fold_target_free(&target);
    return code;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    const char *value;
    struct fold_check_options opt = {0};
    bool as_json = false;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit == FOLD_EXIT_OK ? FSCK_CLEAN : FSCK_USAGE;
        opt.repair = opt.repair || id == 'r';
        opt.rebuild_index = opt.rebuild_index || id == 'i';
        opt.data = opt.data || id == 'd';
        as_json = as_json || id == 'j';
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    return operands != NULL ? check(verb, operands[0], &opt, as_json) : FSCK_USAGE;
}

const struct fold_verb fold_verb_fsck = {
    .name = "fsck",
    .synopsis = "[--repair] [--rebuild-index] [--data] [--json] STORE",
    .summary = "check a store that is not mounted, and repair it",
    .details = "Without --repair or --rebuild-index nothing on disk changes. Exit codes: 0 clean,\n"
               "1 all problems repaired, 4 problems left, 8 the check failed, 16 usage.\n",
    .options = options,
    .run = run,
};
