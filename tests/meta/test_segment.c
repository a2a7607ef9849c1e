/* SPDX-License-Identifier: MIT */
/*
 * Segments: appending until full, sealing, scanning again; torn tails at every byte; rot told from
 * torn bytes; a failed sync is for good. Also the pinned mappings.
 */
#include "blob_rig.h"

#include "meta/base/guard.h"
#include "meta/segmap.h"
#include "meta/segscan.h"

#define CAP   (256u << 10)
#define CHUNK 1000u

struct bench {
    struct rig rig;
    struct fold_segset *set;
    struct fold_segment *seg;
    uint32_t ends[1000]; /* end of each record */
    uint32_t count;
};

static void setup(struct bench *b)
{
    memset(b, 0, sizeof *b);
    fold_log_set_level((enum fold_log_level) - 1);
    fold_guard_install();
    rig_dir(&b->rig);
    assert_int_equal(fold_segset_create(&b->set), 0);
    assert_int_equal(fold_segment_create(b->rig.fd, b->set, 16, CAP, &b->seg), 0);
}

static void teardown(struct bench *b)
{
    fold_segment_unref(b->seg);
    fold_segset_destroy(b->set);
    rig_fini(&b->rig);
}

static void finish(struct bench *b, int fd)
{
    (void)close(fd);
    teardown(b);
}

static int append(struct bench *b, size_t n, size_t *done)
{
    static uint8_t data[FOLD_SEGMENT_BATCH][CHUNK];
    struct fold_piece piece[FOLD_SEGMENT_BATCH];
    for (size_t i = 0; i < n; i++) {
        uint64_t seed = 2 * (b->count + i) + 1;
        rig_fill(seed, data[i], CHUNK);
        piece[i] = (struct fold_piece){.payload = data[i]};
        piece[i].rec = (struct fold_rec){.raw_len = CHUNK,
                                         .stored_len = CHUNK,
                                         .fp = rig_fp(seed, 16),
                                         .payload_crc = fold_rec_payload_crc(data[i], CHUNK)};
    }
    int rc = fold_segment_append(b->seg, piece, n, done);
    for (size_t i = 0; rc == 0 && i < *done; i++)
        b->ends[b->count++] = piece[i].off + fold_rec_bytes(16, CHUNK);
    return rc;
}

static void append_all(struct bench *b, size_t n)
{
    size_t done;
    assert_int_equal(append(b, n, &done), 0);
    assert_int_equal(done, n);
}

/* A segment of `n` records; returns its file. */
static int setup_with(struct bench *b, size_t n)
{
    setup(b);
    append_all(b, n);
    return rig_file(&b->rig, "00000001.seg");
}

static void appends_until_full_and_seals(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_seg_summary sum;
    struct fold_seg_ident id;
    struct fold_seg_entry *entries;
    size_t done;
    setup(&b);
    do
        assert_int_equal(append(&b, 100, &done), 0);
    while (done == 100);
    assert_int_equal(append(&b, 1, &done), 0);
    assert_int_equal(done, 0);
    assert_true(b.count > 230);
    int fd = rig_file(&b.rig, "00000001.seg");
    assert_int_equal(fold_segscan_footer(fd, 1, &id, &sum), 1);
    assert_int_equal(fold_segment_seal(b.seg), 0);
    assert_int_equal(atomic_load(&fold_segment_info(b.seg)->state), FOLD_SEG_SEALED);
    assert_true(rig_size(fd) <= CAP);
    assert_int_equal(fold_segscan_footer(fd, 1, &id, &sum), 0);
    assert_int_equal(sum.count, b.count);
    assert_int_equal(sum.data_end, b.ends[b.count - 1]);
    assert_int_equal(sum.raw_bytes, b.count * CHUNK);
    assert_int_equal(fold_segscan_table(fd, &sum, &entries), 0);
    assert_int_equal(entries[1].off, b.ends[0]);
    assert_true(entries[5].w[1] == rig_fp(11, 16).w[1]);
    free(entries);
    finish(&b, fd);
}

/* Scans the file as it is. */
static int scan(struct bench *b, int fd, struct fold_segment_content *c, bool *clean)
{
    struct fold_seg_ident id = fold_segment_info(b->seg)->ident;
    int rc = fold_segscan_records(fd, &id, c, clean);
    if (rc == 0)
        free(c->entries);
    return rc;
}

static void torn_tails_are_cut(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segment_content c;
    bool clean;
    int fd = setup_with(&b, 5);
    uint32_t last = b.ends[3];
    uint32_t end = b.ends[4];
    assert_int_equal(scan(&b, fd, &c, &clean), 0);
    assert_true(clean && c.count == 5 && c.data_end == end && c.raw_bytes == 5 * CHUNK);
    for (uint32_t len = end - 1; len > last; len--) {
        assert_int_equal(ftruncate(fd, len), 0);
        assert_int_equal(scan(&b, fd, &c, &clean), 0);
        assert_int_equal(c.count, 4);
        assert_int_equal(c.data_end, last);
        assert_int_equal(c.whole_end, last);
        assert_false(clean);
    }
    assert_int_equal(ftruncate(fd, last), 0);
    assert_int_equal(scan(&b, fd, &c, &clean), 0);
    assert_true(clean && c.count == 4);
    finish(&b, fd);
}

static void any_flip_is_noticed(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segment_content c;
    bool clean;
    int fd = setup_with(&b, 5);
    uint32_t head = fold_rec_header_bytes(16);
    for (uint32_t at = b.ends[1]; at < b.ends[1] + head + CHUNK; at++) {
        rig_flip(fd, at, at % 8);
        assert_int_equal(scan(&b, fd, &c, &clean), 0);
        assert_false(clean);
        assert_int_equal(c.data_end, b.ends[4]); /* the whole records behind it are kept */
        assert_int_equal(c.whole_end, b.ends[1]);
        assert_int_equal(c.count, at < b.ends[1] + head ? 4 : 5);
        rig_flip(fd, at, at % 8);
    }
    finish(&b, fd);
}

static void rot_is_told_from_torn_bytes(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segment_content c;
    bool clean;
    setup(&b);
    append_all(&b, 3);
    assert_int_equal(fold_segment_sync(b.seg), 0);
    assert_int_equal(fold_segment_synced(b.seg), b.ends[2]);
    append_all(&b, 3);
    int fd = rig_file(&b.rig, "00000001.seg");
    rig_flip(fd, b.ends[0] + 100, 0); /* durable before record 4 was written */
    assert_int_equal(scan(&b, fd, &c, &clean), 0);
    assert_int_equal(c.whole_end, b.ends[5]);
    rig_flip(fd, b.ends[3] + 100, 0); /* not known to be durable */
    assert_int_equal(scan(&b, fd, &c, &clean), 0);
    assert_int_equal(c.whole_end, b.ends[3]);
    assert_int_equal(c.data_end, b.ends[5]);
    finish(&b, fd);
}

static void records_inside_chunks_are_not_found(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segment_content c;
    bool clean;
    int fd = setup_with(&b, 3);
    /* A chunk that holds a byte-exact copy of record 1, at an aligned place. */
    uint32_t size = b.ends[0] - FOLD_SEG_HEADER_BYTES;
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    assert_int_equal(pread(fd, copy, size, FOLD_SEG_HEADER_BYTES), size);
    struct fold_piece piece = {.payload = copy};
    size_t done;
    piece.rec = (struct fold_rec){.raw_len = size,
                                  .stored_len = size,
                                  .fp = rig_fp(999, 16),
                                  .payload_crc = fold_rec_payload_crc(copy, size)};
    assert_int_equal(fold_segment_append(b.seg, &piece, 1, &done), 0);
    append_all(&b, 1);
    rig_flip(fd, piece.off + 2, 1); /* its header is gone: the scan searches inside */
    assert_int_equal(scan(&b, fd, &c, &clean), 0);
    assert_int_equal(c.count, 4);
    free(copy);
    finish(&b, fd);
}

static void failed_writes_change_nothing(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segment_content c;
    bool clean;
    size_t done;
    setup(&b);
    append_all(&b, 3);
    for (int short_write = 0; short_write < 2; short_write++) {
        struct rig_fault fault = {.at = 1, .rc = -ENOSPC, .only = FOLD_IO_WRITE};
        fold_io_set_fault(rig_fault_hook, &fault);
        assert_int_equal(append(&b, 2, &done), -ENOSPC);
        fold_io_set_fault(NULL, NULL);
        assert_int_equal(atomic_load(&fold_segment_info(b.seg)->data_end), b.ends[2]);
    }
    append_all(&b, 2);
    int fd = rig_file(&b.rig, "00000001.seg");
    assert_int_equal(scan(&b, fd, &c, &clean), 0);
    assert_true(clean && c.count == 5);
    finish(&b, fd);
}

static void a_failed_sync_is_for_good(void **state FOLD_UNUSED)
{
    struct bench b;
    setup(&b);
    append_all(&b, 3);
    struct rig_fault fault = {.at = 1, .rc = -EIO, .only = FOLD_IO_SYNC};
    fold_io_set_fault(rig_fault_hook, &fault);
    assert_int_equal(fold_segment_sync(b.seg), -EIO);
    fold_io_set_fault(NULL, NULL);
    assert_int_equal(fold_segment_sync(b.seg), -EIO);
    assert_int_equal(fold_segment_failed(b.seg), -EIO);
    assert_int_equal(fold_segment_seal(b.seg), -EIO);
    assert_int_equal(fold_segment_synced(b.seg), 0);
    teardown(&b);
}

static void sealing_can_be_tried_again(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_seg_summary sum;
    struct fold_seg_ident id;
    setup(&b);
    append_all(&b, 3);
    assert_int_equal(fold_segment_sync(b.seg), 0);
    int tries = 0;
    for (int k = 1; k < 10; k++) {
        struct rig_fault fault = {.at = k, .rc = -ENOSPC, .only = -1};
        fold_io_set_fault(rig_fault_hook, &fault);
        int rc = fold_segment_seal(b.seg);
        fold_io_set_fault(NULL, NULL);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOSPC);
        assert_int_equal(fold_segment_failed(b.seg), 0);
        assert_int_equal(atomic_load(&fold_segment_info(b.seg)->state), FOLD_SEG_OPEN);
        tries++;
    }
    assert_int_equal(tries, 5); /* table, sync, footer, truncate, sync */
    int fd = rig_file(&b.rig, "00000001.seg");
    assert_int_equal(fold_segscan_footer(fd, 1, &id, &sum), 0);
    finish(&b, fd);
}

struct seal_watch {
    uint64_t table_end;
    int writes;
    bool synced; /* since the last write */
    bool ordered;
};

/* The footer, which is the write behind the table, comes after a sync of the table. */
static int watch_seal(void *arg, enum fold_io_op op, int fd, const char *name)
{
    struct seal_watch *w = arg;
    (void)name;
    if (op == FOLD_IO_SYNC)
        w->synced = true;
    if (op != FOLD_IO_WRITE)
        return 0;
    if (++w->writes == 2)
        w->ordered = w->synced && (uint64_t)rig_size(fd) == w->table_end;
    w->synced = false;
    return 0;
}

static void a_footer_proves_the_table(void **state FOLD_UNUSED)
{
    for (int synced = 0; synced <= 1; synced++) {
        struct bench b;
        setup(&b);
        append_all(&b, 3);
        if (synced)
            assert_int_equal(fold_segment_sync(b.seg), 0);
        struct seal_watch w = {.table_end = b.ends[2] + 3 * FOLD_SEG_ENTRY_BYTES};
        fold_io_set_fault(watch_seal, &w);
        assert_int_equal(fold_segment_seal(b.seg), 0);
        fold_io_set_fault(NULL, NULL);
        assert_int_equal(w.writes, 2);
        assert_true(w.ordered);
        teardown(&b);
    }
}

static void creation_leaves_nothing_behind(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segment *seg;
    setup(&b);
    struct rig_fault fault = {.at = 1, .rc = -ENOSPC, .only = FOLD_IO_WRITE};
    fold_io_set_fault(rig_fault_hook, &fault);
    assert_int_equal(fold_segment_create(b.rig.fd, b.set, 16, CAP, &seg), -ENOSPC);
    fold_io_set_fault(NULL, NULL);
    assert_int_equal(faccessat(b.rig.fd, "00000002.seg", F_OK, 0), -1);
    assert_int_equal(fold_segment_create(b.rig.fd, b.set, 16, CAP, &seg), 0);
    assert_int_equal(fold_segment_info(seg)->ident.seg, 3);
    assert_null(fold_segset_get(b.set, 2));
    fold_segment_unref(seg);
    teardown(&b);
}

static void mappings_are_bounded_and_pinned(void **state FOLD_UNUSED)
{
    struct bench b;
    struct fold_segmap *m;
    struct fold_map *pins[40];
    struct fold_map *again;
    setup(&b);
    assert_int_equal(fold_segmap_create(b.rig.fd, NULL, 16, &m), 0);
    for (uint32_t i = 2; i <= 40; i++) {
        struct fold_segment *seg;
        assert_int_equal(fold_segment_create(b.rig.fd, b.set, 16, CAP, &seg), 0);
        fold_segment_unref(seg);
    }
    for (uint32_t i = 1; i <= 40; i++)
        assert_int_equal(fold_segmap_pin(m, fold_segset_get(b.set, i), &pins[i - 1]), 0);
    for (uint32_t i = 1; i <= 40; i++) {
        assert_int_equal(pins[i - 1]->seg, i);
        assert_int_equal(pins[i - 1]->base[12], i); /* the number in the header */
    }
    assert_int_equal(fold_segmap_pin(m, fold_segset_get(b.set, 7), &again), 0);
    assert_ptr_equal(again, pins[6]);
    fold_segmap_again(m, again);
    fold_segmap_drop(m, 7); /* still pinned three times */
    fold_segmap_unpin(m, again);
    fold_segmap_unpin(m, again);
    assert_int_equal(pins[6]->base[12], 7);
    assert_int_equal(fold_segmap_pin(m, fold_segset_get(b.set, 7), &again), 0);
    assert_ptr_not_equal(again, pins[6]);
    fold_segmap_unpin(m, again);
    for (uint32_t i = 1; i <= 40; i++)
        fold_segmap_unpin(m, pins[i - 1]);
    assert_int_equal(unlinkat(b.rig.fd, "00000028.seg", 0), 0);
    fold_segmap_drop(m, 40);
    assert_int_equal(fold_segmap_pin(m, fold_segset_get(b.set, 40), &again), -ENOENT);
    fold_segmap_destroy(m);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_until_full_and_seals),
        cmocka_unit_test(torn_tails_are_cut),
        cmocka_unit_test(any_flip_is_noticed),
        cmocka_unit_test(rot_is_told_from_torn_bytes),
        cmocka_unit_test(records_inside_chunks_are_not_found),
        cmocka_unit_test(failed_writes_change_nothing),
        cmocka_unit_test(a_failed_sync_is_for_good),
        cmocka_unit_test(sealing_can_be_tried_again),
        cmocka_unit_test(a_footer_proves_the_table),
        cmocka_unit_test(creation_leaves_nothing_behind),
        cmocka_unit_test(mappings_are_bounded_and_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
