/* SPDX-License-Identifier: MIT */
/*
 * Per file without summary: a valid footer makes it sealed, and its table goes to the index again;
 * otherwise its records are scanned. A clean open segment goes on taking records. One with a torn
 * tail or other damage is sealed as it is, never continued: offsets in the part that is cut may
 * have been handed out, so no other record may ever lie there.
 */
#include "meta/segopen.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/gaps.h"
#include "meta/segnext.h"
#include "meta/segscan.h"

#include <errno.h>
#include <fcntl.h>

/* Sealed segments waiting for the index at once; more are loaded in between. */
#define LOST_GAP 65536u /* numbers left out when the highest one used is not known */

/* Numbers found in names of files. */
struct numbers {
    uint32_t *at;
    size_t count;
    size_t cap;
};

struct run {
    const struct fold_segopen *o;
    struct numbers segs; /* rising */
    struct numbers gaps; /* segments with a list of gaps */
    bool *known;         /* has a summary; parallel to segs */
    unsigned adopted;    /* sealed segments handed to the sealer since the last load */
    bool index_failed;   /* loading the index failed: no more is kept in memory for it */
};

static int push(struct numbers *n, uint32_t seg)
{
    if (FOLD_GROW(n->at, n->cap, n->count + 1, 256) < 0)
        return -ENOMEM;
    n->at[n->count++] = seg;
    return 0;
}

static int note_name(void *arg, const char *name)
{
    struct run *r = arg;
    size_t len = strlen(name);
    if (r->o->sealer != NULL && len > 4 && strcmp(name + len - 4, ".new") == 0)
        return fold_io_unlink(r->o->dirfd, name);
    uint32_t seg = fold_seg_name_parse(name);
    if (seg != 0)
        return push(&r->segs, seg);
    seg = fold_gaps_name_parse(name);
    return seg != 0 ? push(&r->gaps, seg) : 0;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x;
    uint32_t y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static int take_summary(void *arg, const struct fold_seg_summary *sum)
{
    struct run *r = arg;
    fold_segset_note(r->o->set, sum->ident.seg);
    const uint32_t *at = NULL;
    if (r->segs.count > 0)
        at = bsearch(&sum->ident.seg, r->segs.at, r->segs.count, sizeof *r->segs.at, by_number);
    if (at == NULL || sum->ident.fp_width != r->o->fp_width) {
        fold_error("segment %08x: its file is missing; the chunks in it are lost", sum->ident.seg);
        return 0;
    }
    r->known[at - r->segs.at] = true;
    return fold_segset_seal(r->o->set, sum);
}

static int enter_open(const struct run *r, uint32_t seg, const struct fold_seg_entry *e, uint32_t n)
{
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct fold_fp fp = {{e[i].w[0], e[i].w[1], 0, 0}};
        struct fold_loc loc = {seg, e[i].off};
        if (fold_seg_entry_gone(&e[i]))
            continue;
        rc = fold_openindex_insert(r->o->open, &fp, loc, false);
    }
    return rc;
}

/* The entries of a sealed file: its table, or if that is damaged its records. */
static int sealed_entries(int fd, struct fold_seg_summary *sum, struct fold_seg_entry **out)
{
    int rc = fold_segscan_table(fd, sum, out);
    if (rc != -FOLD_E_BAD_SEGMENT)
        return rc;
    struct fold_segment_content content;
    bool clean;
    fold_warn("segment %08x: its table is damaged; its records are read", sum->ident.seg);
    rc = fold_segscan_records(fd, &sum->ident, &content, &clean);
    if (rc < 0)
        return rc;
    sum->count = content.count;
    *out = content.entries;
    return 0;
}

/* Hands the entries of a sealed segment to the sealer for indexing. */
static int index_sealed(struct run *r, const struct fold_seg_summary *sum, struct fold_seg_entry *e)
{
    const struct fold_segopen *o = r->o;
    int rc = r->index_failed ? 0 : enter_open(r, sum->ident.seg, e, sum->count);
    if (rc < 0 || o->sealer == NULL || r->index_failed) {
        free(e);
        return rc;
    }
    struct fold_segment *seg = fold_segment_wrap(o->set, sum->ident.seg, e);
    if (seg == NULL) {
        free(e);
        return -ENOMEM;
    }
    fold_sealer_adopt(o->sealer, seg);
    if (++r->adopted % fold_knobs.adopt_load_every == 0 && fold_sealer_flush(o->sealer) < 0)
        r->index_failed = true;
    return 0;
}

/* What is gone from a segment; NULL: nothing, or nothing that is known. */
static struct fold_gaps *open_gaps(const struct run *r, uint32_t seg)
{
    struct fold_gaps *gaps = NULL;
    struct fold_seg *s = fold_segset_get(r->o->set, seg);
    int rc = fold_gaps_load(r->o->dirfd, seg, &gaps);
    if (rc < 0) {
        fold_error("segment %08x: its list of gaps cannot be read: %s", seg, fold_err_text(rc));
        return NULL;
    }
    if (s != NULL)
        fold_segset_gaps(s, gaps);
    return gaps;
}

/* Lists of segments that are gone themselves are left by a crash at most. */
static void open_all_gaps(const struct run *r)
{
    for (size_t i = 0; i < r->gaps.count; i++) {
        uint32_t seg = r->gaps.at[i];
        const uint32_t *at = NULL;
        if (r->segs.count > 0)
            at = bsearch(&seg, r->segs.at, r->segs.count, sizeof seg, by_number);
        if (at != NULL && r->known[at - r->segs.at])
            free(open_gaps(r, seg));
        else if (at == NULL && r->o->sealer != NULL)
            (void)!fold_gaps_remove(r->o->dirfd, seg);
    }
}

static int open_sealed(struct run *r, int fd, const struct fold_seg_summary *found)
{
    struct fold_seg_summary sum = *found;
    struct fold_seg_entry *entries;
    /* The process may have died between writing the footer and making it durable. */
    int rc = r->o->sealer != NULL ? fold_io_fdatasync(fd) : 0;
    if (rc < 0)
        return rc;
    rc = sealed_entries(fd, &sum, &entries);
    if (rc == -ENOMEM)
        return rc;
    int set = fold_segset_seal(r->o->set, &sum);
    if (rc < 0 || set < 0) {
        if (rc == 0)
            free(entries);
        return set;
    }
    struct fold_gaps *gaps = open_gaps(r, sum.ident.seg);
    fold_gaps_hide(gaps, entries, sum.count);
    /* The process may have died before it punched what it had listed. */
    if (gaps != NULL && r->o->sealer != NULL && fold_gaps_punch(fd, gaps) < 0)
        fold_warn("segment %08x: its gaps still take space", sum.ident.seg);
    free(gaps);
    return index_sealed(r, &sum, entries);
}

/* A scanned segment in a store that may be written. Takes over `fd` and the entries. */
static int open_for_append(struct run *r, int fd, const struct fold_seg_ident *id,
                           struct fold_segment_content *content, bool clean)
{
    const struct fold_segopen *o = r->o;
    struct fold_segment *seg;
    int rc = fold_segment_adopt(fd, o->set, id, content, &seg);
    if (rc < 0)
        return rc;
    content->entries = NULL;
    rc = fold_barrier_add(o->barrier, seg, false);
    if (rc == 0 && (!clean || !fold_appender_resume(o->appender, seg)))
        fold_sealer_submit(o->sealer, seg);
    if (rc < 0)
        fold_segment_unref(seg);
    return rc;
}

/* A scanned segment in a store that is only read. */
static int open_to_read(struct run *r, const struct fold_seg_ident *id,
                        const struct fold_segment_content *content)
{
    struct fold_seg *s = fold_segset_add(r->o->set, id, content->data_end);
    if (s == NULL)
        return -ENOMEM;
    atomic_store(&s->whole_end, content->whole_end);
    atomic_store(&s->count, content->count);
    atomic_store(&s->raw_bytes, content->raw_bytes);
    atomic_store(&s->stored_bytes, content->stored_bytes);
    return 0;
}

/* A power cut may have torn a header that was never synced: sealing relies on a whole one. It is
 * made durable with the records. */
static int mend_header(int fd, const struct fold_seg_ident *id)
{
    uint8_t is[FOLD_SEG_HEADER_BYTES];
    uint8_t should[FOLD_SEG_HEADER_BYTES];
    fold_seg_header_encode(id, should);
    if (fold_io_pread(fd, is, sizeof is, 0) == 0 && memcmp(is, should, sizeof is) == 0)
        return 0;
    fold_warn("segment %08x: one copy of its header is damaged; both are written again", id->seg);
    return fold_io_pwrite(fd, should, sizeof should, 0);
}

static int open_unsealed(struct run *r, int fd, const struct fold_seg_ident *id)
{
    struct fold_segment_content content;
    bool clean;
    if (r->o->sealer != NULL && mend_header(fd, id) < 0)
        fold_warn("segment %08x: its header cannot be written", id->seg);
    int rc = fold_segscan_records(fd, id, &content, &clean);
    if (rc < 0) {
        (void)close(fd);
        return rc == -ENOMEM ? rc : 0;
    }
    if (!clean)
        fold_warn("segment %08x: %u records kept up to offset %u, the torn rest is cut", id->seg,
                  content.count, content.data_end);
    rc = enter_open(r, id->seg, content.entries, content.count);
    if (rc == 0 && r->o->sealer != NULL) {
        rc = open_for_append(r, fd, id, &content, clean);
    } else {
        if (rc == 0)
            rc = open_to_read(r, id, &content);
        (void)close(fd);
    }
    free(content.entries);
    return rc;
}

/* A file that is not even a segment: an empty one, or one whose header was never written, is what a
 * crash soon after its creation leaves. */
static int open_broken(struct run *r, int fd, uint32_t seg, const char *name)
{
    struct stat st;
    int rc = fold_io_fstat(fd, &st);
    if (rc == 0)
        rc = st.st_size <= (off_t)FOLD_SEG_HEADER_BYTES ? 1 : fold_segscan_unbegun(fd);
    (void)close(fd);
    if (rc == 1)
        return r->o->sealer != NULL ? fold_io_unlink(r->o->dirfd, name) : 0;
    fold_error("segment %08x: %s; the chunks in it are lost", seg,
               fold_err_text(-FOLD_E_BAD_SEGMENT));
    return 0;
}

static int open_file(struct run *r, uint32_t seg)
{
    char name[FOLD_SEG_NAME_BYTES];
    struct fold_seg_ident id;
    struct fold_seg_summary sum;
    fold_seg_name(seg, name);
    int fd = fold_io_open(r->o->dirfd, name, r->o->sealer != NULL ? O_RDWR : O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int rc = fold_segscan_footer(fd, seg, &id, &sum);
    if (rc >= 0 && id.fp_width != r->o->fp_width)
        rc = -FOLD_E_BAD_SEGMENT;
    if (rc == 1)
        return open_unsealed(r, fd, &id);
    if (rc == -FOLD_E_BAD_SEGMENT)
        return open_broken(r, fd, seg, name);
    if (rc == 0)
        rc = open_sealed(r, fd, &sum);
    (void)close(fd);
    return rc;
}

/* Numbers of segments that were removed are never used again. */
static void note_last(const struct run *r)
{
    uint32_t last = 0;
    uint32_t highest = r->segs.count > 0 ? r->segs.at[r->segs.count - 1] : 0;
    int rc = fold_segnext_load(r->o->dirfd, &last);
    if (rc < 0) {
        last = highest < UINT32_MAX - LOST_GAP ? highest + LOST_GAP : highest;
        fold_warn("segments/last cannot be read (%s); new segments are numbered from %08x",
                  fold_err_text(rc), last);
    }
    fold_segset_note(r->o->set, last);
}

static int run_all(struct run *r)
{
    const struct fold_segopen *o = r->o;
    int rc = fold_io_list(o->dirfd, note_name, r);
    if (rc < 0)
        return rc;
    if (r->segs.count > 1)
        qsort(r->segs.at, r->segs.count, sizeof *r->segs.at, by_number);
    r->known = calloc(r->segs.count + 1, sizeof *r->known);
    if (r->known == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < r->segs.count; i++)
        fold_segset_note(o->set, r->segs.at[i]);
    note_last(r);
    if (o->index != NULL)
        rc = fold_index_summaries(o->index, take_summary, r);
    if (rc < 0 && rc != -ENOMEM) {
        fold_warn("segment summaries cannot be read (%s); the segments are looked into",
                  fold_err_text(rc));
        rc = 0;
    }
    open_all_gaps(r);
    for (size_t i = 0; i < r->segs.count && rc == 0; i++)
        if (!r->known[i])
            rc = open_file(r, r->segs.at[i]);
    return rc;
}

int fold_segopen_run(const struct fold_segopen *o)
{
    struct run r = {.o = o};
    int rc = run_all(&r);
    free(r.segs.at);
    free(r.gaps.at);
    free(r.known);
    return rc;
}
