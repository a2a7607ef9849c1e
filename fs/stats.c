/* SPDX-License-Identifier: MIT */
/*
 * Statistics of a volume: gathered from catalog, store and kernel table, written as JSON.
 */
#include "fs/stats.h"

#include "meta/collect.h"
#include "meta/usage.h"
#include "meta/volume.h"

void fold_stats_from_volume(struct fold_volume *v, struct fold_stats *out)
{
    struct fold_counters counters;
    struct fold_store_info info;
    fold_catalog_counters(v->catalog, &counters);
    fold_store_info(v->store, &info);

    memset(out, 0, sizeof *out);
    memcpy(out->uuid, v->params.uuid, sizeof out->uuid);
    out->files = counters.files;
    out->directories = counters.directories;
    out->logical_bytes = counters.logical_bytes;
    out->unique_bytes = info.raw_bytes;
    out->stored_bytes = info.stored_bytes;
    out->segment_bytes = info.segment_bytes;
    out->catalog_bytes = fold_catalog_bytes(v->catalog) + info.index_bytes;
    out->garbage_bytes = info.garbage_bytes;
    out->chunks = info.chunks;
    out->segments = info.segments;
    out->open_segments = info.open_segments;
    out->damaged_chunks = info.damaged;
    out->healed_chunks = info.healed;
    fold_kernels_counts(out->kernel);
    out->kernel_level = fold_level_name(fold_kernels()->level);
}

static double ratio(uint64_t a, uint64_t b)
{
    return b != 0 ? (double)a / (double)b : 1.0;
}

static int set_count(json_t *object, const char *key, uint64_t value)
{
    return json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *ingest_json(const struct fold_stats_ingest *in)
{
    json_t *o = json_object();
    int bad = set_count(o, "bytes_in", in->bytes_in);
    bad |= set_count(o, "zero_bytes", in->zero_bytes);
    bad |= set_count(o, "duplicate_bytes", in->duplicate_bytes);
    bad |= set_count(o, "verified_bytes", in->verified_bytes);
    bad |= set_count(o, "filter_probes", in->filter_probes);
    bad |= set_count(o, "filter_negatives", in->filter_negatives);
    bad |= set_count(o, "filter_false_positives", in->filter_false_positives);
    bad |= set_count(o, "locality_hits", in->locality_hits);
    bad |= set_count(o, "index_lookups", in->index_lookups);
    bad |= set_count(o, "refolded_bytes", in->refolded_bytes);
    if (bad == 0)
        return o;
    json_decref(o);
    return NULL;
}

/* {"cdc": {"level": "avx2", "calls": 12}, ...} */
static json_t *kernels_json(const struct fold_stats *s)
{
    json_t *all = json_object();
    int bad = 0;
    for (size_t i = 0; i < FOLD_KERNELS; i++)
        if (s->kernel[i].name != NULL)
            bad |= json_object_set_new(all, s->kernel[i].name,
                                       json_pack("{s:s,s:I}", "level", s->kernel[i].level, "calls",
                                                 (json_int_t)s->kernel[i].calls));
    if (bad == 0)
        return all;
    json_decref(all);
    return NULL;
}

void fold_stats_uuid(const uint8_t uuid[16], char out[FOLD_UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[uuid[i] >> 4];
        *p++ = digits[uuid[i] & 15];
    }
    *p = '\0';
}

json_t *fold_stats_to_json(const struct fold_stats *s)
{
    char uuid[FOLD_UUID_TEXT];
    fold_stats_uuid(s->uuid, uuid);
    json_t *o = json_object();
    int bad = json_object_set_new(o, "uuid", json_string(uuid));
    bad |= json_object_set_new(o, "mounted", json_boolean(s->mounted));
    bad |= set_count(o, "files", s->files);
    bad |= set_count(o, "directories", s->directories);
    bad |= set_count(o, "logical_bytes", s->logical_bytes);
    bad |= set_count(o, "unique_bytes", s->unique_bytes);
    bad |= set_count(o, "stored_bytes", s->stored_bytes);
    bad |= set_count(o, "segment_bytes", s->segment_bytes);
    bad |= set_count(o, "catalog_bytes", s->catalog_bytes);
    bad |= set_count(o, "garbage_bytes", s->garbage_bytes);
    bad |= set_count(o, "chunks", s->chunks);
    bad |= set_count(o, "mean_chunk_bytes", s->chunks != 0 ? s->unique_bytes / s->chunks : 0);
    bad |=
        json_object_set_new(o, "dedup_ratio", json_real(ratio(s->logical_bytes, s->unique_bytes)));
    bad |= json_object_set_new(o, "compress_ratio",
                               json_real(ratio(s->unique_bytes, s->stored_bytes)));
    bad |=
        json_object_set_new(o, "total_ratio", json_real(ratio(s->logical_bytes, s->stored_bytes)));
    bad |= set_count(o, "segments", s->segments);
    bad |= set_count(o, "open_segments", s->open_segments);
    bad |= set_count(o, "damaged_chunks", s->damaged_chunks);
    bad |= set_count(o, "healed_chunks", s->healed_chunks);
    if (s->transport != NULL)
        bad |= json_object_set_new(o, "transport", json_string(s->transport));
    bad |= json_object_set_new(o, "kernel_level", json_string(s->kernel_level));
    bad |= json_object_set_new(o, "ingest", ingest_json(&s->ingest));
    bad |= json_object_set_new(o, "kernels", kernels_json(s));
    if (bad == 0)
        return o;
    json_decref(o);
    return NULL;
}

json_t *fold_stats_gc_json(const struct fold_collect_result *r)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "extents",
                     (json_int_t)r->extents, "walk_ms", (json_int_t)r->walk_ms, "walk_cpu_us",
                     (json_int_t)r->walk_cpu_us, "segments_seen", (json_int_t)r->segments_seen,
                     "segments_removed", (json_int_t)r->segments_removed, "segments_copied",
                     (json_int_t)r->segments_copied, "copied_bytes", (json_int_t)r->copied_bytes,
                     "freed_bytes", (json_int_t)r->freed_bytes, "segments_punched",
                     (json_int_t)r->segments_punched, "punched_bytes", (json_int_t)r->punched_bytes,
                     "garbage_bytes", (json_int_t)r->garbage_bytes, "tables_retired",
                     (json_int_t)r->tables_retired);
}

static json_t *usage_row(const struct fold_usage *u)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)u->files,
                     "size_bytes", (json_int_t)u->size, "logical_bytes", (json_int_t)u->logical,
                     "chunks", (json_int_t)u->chunks, "chunk_bytes", (json_int_t)u->raw,
                     "stored_bytes", (json_int_t)u->stored, "unique_bytes", (json_int_t)u->unique,
                     "shared_bytes", (json_int_t)(u->stored - u->unique), "fragments",
                     (json_int_t)u->fragments);
}

json_t *fold_stats_usage_json(const struct fold_usage *rows, size_t n,
                              const struct fold_usage *total)
{
    json_t *list = json_array();
    int bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= json_array_append_new(list, usage_row(&rows[i]));
    if (bad == 0)
        return json_pack("{s:o, s:o}", "rows", list, "total", usage_row(total));
    json_decref(list);
    return NULL;
}
