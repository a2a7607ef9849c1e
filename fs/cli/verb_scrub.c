/* SPDX-License-Identifier: MIT */
/*
 * foldfs scrub: reads and verifies everything that is stored, on a live mount or on a store that is
 * not mounted.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/client.h"
#include "fs/cli/errand.h"
#include "fs/scrubber.h"
#include "fs/session.h"
#include "meta/base/say.h"

static const struct fold_cli_option options[] = {
    {'r', "rate", "BYTES",
     "read at most that many bytes a second (K, M, G allowed; default: no limit)"},
    {'s', "restart", NULL, "begin with the first segment, not where the last run was ended"},
    {'j', "json", NULL, "print the report as JSON"},
    {0, NULL, NULL, NULL},
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
    const struct fold_errand_wish *w = e->arg;
    struct fold_scrubber_options how = {.rate = w->rate,
                                        .restart = w->flag,
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
        fold_say(stdout, "segment %s offset %" JSON_INTEGER_FORMAT " fingerprint %s: %s",
                 json_string_value(json_object_get(d, "segment")),
                 json_integer_value(json_object_get(d, "offset")),
                 json_string_value(json_object_get(d, "fingerprint")),
                 json_string_value(json_object_get(d, "what")));
        json_array_foreach(files, f, file) fold_say(stdout, "    in %s", json_string_value(file));
        if (json_array_size(files) == 0)
            printf("    no file needs it\n");
    }
    json_int_t more = json_integer_value(json_object_get(r, "not_listed"));
    fold_say(stdout,
             "%" JSON_INTEGER_FORMAT " chunks in %" JSON_INTEGER_FORMAT
             " segments read, %" JSON_INTEGER_FORMAT " damaged%s",
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
        fold_json_print(report);
    else
        print_text(report);
    bool damaged = json_array_size(json_object_get(report, "damaged")) > 0;
    if (damaged)
        return FOLD_EXIT_STORE;
    return json_is_true(json_object_get(report, "complete")) ? FOLD_EXIT_OK : FOLD_EXIT_SYSTEM;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_errand_wish w;
    int code;
    if (!fold_errand_ask(verb, argc, argv, 's', &w, &code))
        return code;
    struct fold_errand errand = {
        .verb = verb,
        .args = json_pack("{s:I, s:b}", "rate", (json_int_t)w.rate, "restart", w.flag),
        .arg = &w,
        .offline = scrub,
    };
    json_t *report;
    code = fold_errand_run(&errand, w.operand, &report);
    if (report != NULL)
        code = finish(report, w.as_json);
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
