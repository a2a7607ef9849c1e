/* SPDX-License-Identifier: MIT */
/*
 * foldfs scrub: reads and verifies everything that is stored, on a live mount or on a store that is
 * not mounted.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/errand.h"
#include "fs/scrubber.h"
#include "fs/session.h"

static const struct fold_cli_option options[] = {
    {'r', "rate", "BYTES",
     "read at most that many bytes a second (K, M, G allowed; default: no limit)"},
    {'s', "restart", NULL, "begin with the first segment, not where the last run was ended"},
    {'j', "json", NULL, "print the report as JSON"},
    {0, NULL, NULL, NULL},
};

struct wish {
    uint64_t rate;
    bool restart;
};

static void progress(void *arg, uint64_t done, uint64_t total)
{
    struct fold_errand *e = arg;
    fold_errand_progress(e, e->verb->name, done, total);
}

static bool cancelled(void *arg)
{
    (void)arg;
    return fold_errand_interrupted();
}

static int scrub(struct fold_errand *e, struct fold_session *s, json_t **report)
{
    const struct wish *w = e->arg;
    struct fold_scrubber_options how = {.rate = w->rate,
                                        .restart = w->restart,
                                        .arg = e,
                                        .progress = progress,
                                        .cancelled = cancelled};
    return fold_scrubber_run(s, &how, report);
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
    if (as_json)
        fold_errand_print_json(report);
    else
        print_text(report);
    bool damaged = json_array_size(json_object_get(report, "damaged")) > 0;
    if (damaged)
        return FOLD_EXIT_STORE;
    return json_is_true(json_object_get(report, "complete")) ? FOLD_EXIT_OK : FOLD_EXIT_SYSTEM;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    const char *value;
    struct wish w = {0};
    bool as_json = false;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        w.restart = w.restart || id == 's';
        as_json = as_json || id == 'j';
        if (id == 'r' && !fold_errand_rate(value, &w.rate))
            return fold_cli_misuse(verb, "--rate %s: not a number of bytes", value);
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    if (operands == NULL)
        return cli.exit;
    struct fold_errand errand = {
        .verb = verb,
        .args = json_pack("{s:I, s:b}", "rate", (json_int_t)w.rate, "restart", w.restart),
        .arg = &w,
        .offline = scrub,
    };
    json_t *report;
    int code = fold_errand_run(&errand, operands[0], &report);
    if (report != NULL)
        code = finish(report, as_json);
    json_decref(report);
    return code;
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
