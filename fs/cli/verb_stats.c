/* SPDX-License-Identifier: MIT */
/*
 * foldfs stats: asks the daemon of a live mount, or opens a store that is not mounted without
 * changing it.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/await.h"
#include "fs/cli/client.h"
#include "fs/options.h"
#include "fs/stats.h"
#include "hashing/fingerprint.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/volume.h"

#define ANSWER_WAIT_S 60

enum { JSON = 256 };

static const struct fold_cli_option options[] = {
    {JSON, "json", NULL, "print a JSON object"},
    {0, NULL, NULL, NULL},
};

enum form { COUNT, BYTES, RATIO, TEXT };

struct row {
    const char *key;
    enum form form;
    const char *label;
};

static const struct row rows[] = {
    {"uuid", TEXT, "volume"},
    {"files", COUNT, "files"},
    {"directories", COUNT, "directories"},
    {"logical_bytes", BYTES, "data in files"},
    {"unique_bytes", BYTES, "distinct data"},
    {"stored_bytes", BYTES, "stored, compressed"},
    {"segment_bytes", BYTES, "segments on disk"},
    {"catalog_bytes", BYTES, "catalog on disk"},
    {"garbage_bytes", BYTES, "garbage"},
    {"chunks", COUNT, "chunks"},
    {"mean_chunk_bytes", BYTES, "mean chunk"},
    {"dedup_ratio", RATIO, "saved by dedup"},
    {"compress_ratio", RATIO, "saved by compression"},
    {"total_ratio", RATIO, "together"},
    {"damaged_chunks", COUNT, "damaged chunks seen"},
    {"healed_chunks", COUNT, "damaged chunks healed"},
    {"kernel_level", TEXT, "kernels"},
};

static const struct row ingest_rows[] = {
    {"bytes_in", BYTES, "written since mount"},
    {"zero_bytes", BYTES, "  zeros (holes)"},
    {"duplicate_bytes", BYTES, "  duplicates"},
    {"verified_bytes", BYTES, "  verified bytewise"},
    {"filter_probes", COUNT, "filter probes"},
    {"filter_negatives", COUNT, "  surely new"},
    {"filter_false_positives", COUNT, "  false alarms"},
    {"locality_hits", COUNT, "locality hits"},
    {"index_lookups", COUNT, "index lookups"},
};

static void print_bytes(json_int_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    unsigned unit = 0;
    while (v >= 1024 && unit + 1 < FOLD_ARRAY_LEN(units)) {
        v /= 1024;
        unit++;
    }
    printf(unit == 0 ? "%.0f %s\n" : "%.1f %s\n", v, units[unit]);
}

static void print_rows(const json_t *object, const struct row *row, size_t n)
{
    for (; n > 0; n--, row++) {
        const json_t *value = json_object_get(object, row->key);
        if (value == NULL)
            continue;
        printf("%-22s ", row->label);
        switch (row->form) {
        case COUNT:
            printf("%lld\n", (long long)json_integer_value(value));
            break;
        case BYTES:
            print_bytes(json_integer_value(value));
            break;
        case RATIO:
            printf("%.2f : 1\n", json_number_value(value));
            break;
        case TEXT:
            puts(json_string_value(value));
            break;
        }
    }
}

static void print(const json_t *stats, bool json)
{
    if (json) {
        fold_json_print(stats);
        return;
    }
    print_rows(stats, rows, FOLD_ARRAY_LEN(rows));
    if (json_is_true(json_object_get(stats, "mounted")))
        print_rows(json_object_get(stats, "ingest"), ingest_rows, FOLD_ARRAY_LEN(ingest_rows));
}

/* Statistics of a store that no writer holds. */
static int from_store(const char *store, json_t **out)
{
    struct fold_volume_params params;
    struct fold_volume *volume;
    struct fold_stats stats;
    int rc = fold_volume_probe(store, &params);
    if (rc != 0)
        return rc;
    struct fold_volume_options opt = {.read_only = true};
    opt.store.read_only = true;
    opt.store.fp_width = params.hash == FOLD_HASH_SHA256 ? 32 : 16;
    opt.catalog.read_only = true;
    fold_log_set_level(FOLD_LOG_WARN);
    rc = fold_volume_open(store, &opt, &volume);
    if (rc != 0)
        return rc;
    fold_stats_from_volume(volume, &stats);
    rc = fold_volume_close(volume, true);
    *out = fold_stats_to_json(&stats);
    return *out != NULL ? rc : -ENOMEM;
}

static int show(const struct fold_verb *verb, const char *operand, bool json)
{
    struct fold_target target = FOLD_TARGET_NONE;
    json_t *stats = NULL;
    char why[4608];
    int rc = fold_target_find(operand, &target, why, sizeof why);
    if (rc == 0 && target.fd >= 0)
        rc = fold_client_call(target.fd, "stats", NULL, ANSWER_WAIT_S, NULL, NULL, &stats, why,
                              sizeof why);
    if ((rc == 0 && target.fd < 0) || rc == -ESHUTDOWN) {
        rc = fold_store_await(verb, target.store, true, why, sizeof why);
        if (rc == 0 && (rc = from_store(target.store, &stats)) != 0)
            snprintf(why, sizeof why, "%s: %s", operand, fold_err_text(rc));
    }
    if (rc == 0)
        print(stats, json);
    else
        fold_cli_fail(verb, 0, "%s", why);
    json_decref(stats);
    fold_target_free(&target);
    return fold_cli_exit_code(rc);
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    const char *value;
    bool json = false;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        json = true;
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    return operands != NULL ? show(verb, operands[0], json) : cli.exit;
}

const struct fold_verb fold_verb_stats = {
    .name = "stats",
    .synopsis = "[--json] MOUNTPOINT|STORE",
    .summary = "show how much is stored, and how much was saved",
    .options = options,
    .run = run,
};
