/* SPDX-License-Identifier: MIT */
/*
 * foldfs scrub: reads and verifies everything that is stored, on a live mount or on a store that is
 * not mounted.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/client.h"
#include "fs/cli/meter.h"
#include "fs/scrubber.h"
#include "fs/session.h"
#include "meta/base/err.h"

#include <inttypes.h>
#include <signal.h>

static const struct fold_cli_option options[] = {
    {'r', "rate", "BYTES",
     "read at most that many bytes a second (K, M, G allowed; default: no limit)"},
    {'s', "restart", NULL, "begin with the first segment, not where the last run was ended"},
    {'j', "json", NULL, "print the report as JSON"},
    {0, NULL, NULL, NULL},
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void live_progress(void *arg, const json_t *p)
{
    fold_meter_show(arg, "scrub", (uint64_t)json_integer_value(json_object_get(p, "done")),
                    (uint64_t)json_integer_value(json_object_get(p, "total")));
}

static void local_progress(void *arg, uint64_t done, uint64_t total)
{
    fold_meter_show(arg, "scrub", done, total);
}

static bool local_cancelled(void *arg)
{
    (void)arg;
    return interrupted != 0;
}

static int scrub_store(const char *store, uint64_t rate, bool restart, struct fold_meter *meter,
                       json_t **report)
{
    struct fold_mount_options opt;
    struct fold_session *s;
    fold_mount_options_init(&opt, geteuid() == 0);
    int rc = fold_session_open(store, &opt, &s);
    if (rc != 0)
        return rc;
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    struct fold_scrubber_options how = {.rate = rate,
                                        .restart = restart,
                                        .arg = meter,
                                        .progress = local_progress,
                                        .cancelled = local_cancelled};
    rc = fold_scrubber_run(s, &how, report);
    int closed = fold_session_close(s);
    return rc == 0 ? closed : rc;
}

static void print_text(const json_t *r)
{
    size_t i, f;
    const json_t *d, *file;
    const json_t *damaged = json_object_get(r, "damaged");
    json_array_foreach(damaged, i, d)
    {
        const json_t *files = json_object_get(d, "files");
        printf("segment %s offset %" JSON_INTEGER_FORMAT " fingerprint %s: %s\n",
               json_string_value(json_object_get(d, "segment")),
               json_integer_value(json_object_get(d, "offset")),
               json_string_value(json_object_get(d, "fingerprint")),
               json_string_value(json_object_get(d, "what")));
        json_array_foreach(files, f, file) printf("    in %s\n", json_string_value(file));
        if (json_array_size(files) == 0)
            printf("    no file needs it\n");
    }
    json_int_t more = json_integer_value(json_object_get(r, "not_listed"));
    printf("%" JSON_INTEGER_FORMAT " chunks in %" JSON_INTEGER_FORMAT
           " segments read, %" JSON_INTEGER_FORMAT " damaged%s\n",
           json_integer_value(json_object_get(r, "chunks")),
           json_integer_value(json_object_get(r, "segments")),
           (json_int_t)json_array_size(damaged) + more,
           json_is_true(json_object_get(r, "complete"))
               ? ""
               : "; not complete, the next run goes on here");
}

static int finish(const json_t *report, bool as_json)
{
    if (as_json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_text(report);
    }
    bool damaged = json_array_size(json_object_get(report, "damaged")) > 0;
    if (damaged)
        return FOLD_EXIT_STORE;
    return json_is_true(json_object_get(report, "complete")) ? FOLD_EXIT_OK : FOLD_EXIT_SYSTEM;
}

static int scrub(const struct fold_verb *verb, const char *operand, uint64_t rate, bool restart,
                 bool as_json)
{
    char why[256];
    struct fold_target target = {.fd = -1};
    struct fold_meter meter = {0};
    json_t *report = NULL;
    int code = FOLD_EXIT_OK;
    int rc = fold_target_find(operand, &target, why, sizeof why);
    if (rc != 0)
        return fold_cli_fail(verb, fold_cli_exit_code(rc), "%s", why);
    if (target.fd >= 0) {
        json_t *args = json_pack("{s:I, s:b}", "rate", (json_int_t)rate, "restart", restart);
        rc = fold_client_call(target.fd, "scrub", args, 0, live_progress, &meter, &report, why,
                              sizeof why);
        fold_meter_end(&meter);
        if (rc != 0)
            code = fold_cli_fail(verb, fold_cli_exit_code(rc), "'%s': %s", operand, why);
    } else if (target.point != NULL) {
        code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM,
                             "the daemon of '%s' does not answer, or the mount is read-only",
                             target.point);
    } else {
        rc = scrub_store(target.store, rate, restart, &meter, &report);
        fold_meter_end(&meter);
        if (rc != 0 && rc != -ECANCELED)
            code =
                fold_cli_fail(verb, fold_cli_exit_code(rc), "'%s': %s", operand, fold_err_text(rc));
    }
    if (report != NULL)
        code = finish(report, as_json);
    json_decref(report);
    fold_target_free(&target);
    return code;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    const char *value;
    bool restart = false, as_json = false;
    uint64_t rate = 0;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        restart = restart || id == 's';
        as_json = as_json || id == 'j';
        if (id == 'r' && (fold_size_parse(value, &rate) != 0 || rate == 0 || rate > INT64_MAX))
            return fold_cli_misuse(verb, "--rate %s: not a number of bytes", value);
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    return operands != NULL ? scrub(verb, operands[0], rate, restart, as_json) : cli.exit;
}

const struct fold_verb fold_verb_scrub = {
    .name = "scrub",
    .synopsis = "[--rate BYTES] [--restart] [--json] MOUNTPOINT|STORE",
    .summary = "read all stored data and verify it",
    .details =
        "Reads every chunk from the disk, verifies checksum and fingerprint, and names the files\n"
        "that use damaged ones. A run that was ended goes on where it was. Exit code 3: damage.\n",
    .options = options,
    .run = run,
};
