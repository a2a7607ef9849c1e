/* SPDX-License-Identifier: MIT */
/*
 * The journal alone: what is appended comes back in order, and of a file damaged anywhere exactly
 * the records before the damage.
 */
#include "tests/meta/catalog_rig.h"

#include "meta/journal_format.h"

#include <dirent.h>

struct seen {
    uint64_t n;
    fold_lsn first, last;
    fold_lsn stop_at; /* refuse this one */
    fold_lsn known;   /* skip up to here */
    bool wrong;
};

static void fill(uint8_t *buf, size_t len, fold_lsn lsn)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(lsn * 31 + i);
}

static size_t payload_len(fold_lsn lsn)
{
    return lsn % 7 == 0 ? 3000 : 40 + lsn % 11;
}

static int append(struct fold_journal *j, fold_lsn lsn)
{
    uint8_t buf[4096];
    size_t len = payload_len(lsn);
    fill(buf, len, lsn);
    struct fold_dep deps[2] = {{1, (uint32_t)lsn}, {2, 7}};
    struct fold_journal_record rec = {.lsn = lsn,
                                      .deps = deps,
                                      .ndeps = lsn % 3,
                                      .note = "a note",
                                      .note_len = lsn % 7,
                                      .data = buf,
                                      .len = len};
    return fold_journal_append(j, &rec);
}

static int see(void *arg, const struct fold_journal_record *rec)
{
    struct seen *s = arg;
    if (rec->lsn == s->stop_at)
        return FOLD_JOURNAL_STOP;
    if (rec->lsn <= s->known)
        return FOLD_JOURNAL_KNOWN;
    uint8_t want[4096];
    fill(want, payload_len(rec->lsn), rec->lsn);
    if (rec->len != payload_len(rec->lsn) || memcmp(rec->data, want, rec->len) != 0 ||
        rec->note_len != rec->lsn % 7 || memcmp(rec->note, "a note", rec->note_len) != 0 ||
        rec->ndeps != rec->lsn % 3 || (rec->ndeps > 0 && rec->deps[0].end != (uint32_t)rec->lsn))
        s->wrong = true;
    if (s->n++ == 0)
        s->first = rec->lsn;
    s->last = rec->lsn;
    return 0;
}

static struct fold_journal_replay replay(int fd, struct seen *s)
{
    struct fold_journal *j;
    struct fold_journal_replay out = {0};
    assert_int_equal(fold_journal_open(fd, true, &j), 0);
    assert_int_equal(fold_journal_replay(j, see, s, &out), 0);
    fold_journal_close(j, false);
    assert_false(s->wrong);
    assert_int_equal(out.records, s->n);
    return out;
}

struct place {
    char path[64];
    int fd;
    struct fold_journal *j;
};

static void setup(struct place *p)
{
    rig_temp(p->path);
    p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_journal_format(p->fd), 0);
    assert_int_equal(fold_journal_open(p->fd, false, &p->j), 0);
    assert_int_equal(fold_journal_resume(p->j), 0);
}

/* With record 1; record 2 was taken back. */
static void setup_taken_back(struct place *p)
{
    setup(p);
    assert_int_equal(append(p->j, 1), 0);
    assert_int_equal(append(p->j, 2), 0);
    assert_int_equal(fold_journal_take_back(p->j), 0);
}

static void teardown(struct place *p)
{
    fold_journal_close(p->j, false);
    close(p->fd);
    rig_remove_tree(p->path);
}

static void gives_back_what_was_appended(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    for (fold_lsn i = 5; i < 205; i++)
        assert_int_equal(append(p.j, i), 0);
    struct seen s = {0};
    struct fold_journal_replay out = replay(p.fd, &s);
    assert_int_equal(s.n, 200);
    assert_int_equal(s.first, 5);
    assert_int_equal(s.last, 204);
    assert_int_equal(out.dropped, 0);
    s = (struct seen){.stop_at = 100};
    out = replay(p.fd, &s);
    assert_int_equal(s.last, 99);
    assert_int_equal(out.dropped, 105);
    assert_false(out.damaged);
    teardown(&p);
}

static void takes_back_the_last_record(void **state)
{
    (void)state;
    struct place p;
    setup_taken_back(&p);
    struct seen s = {0};
    replay(p.fd, &s);
    assert_int_equal(s.last, 1);
    assert_int_equal(append(p.j, 2), 0);
    s = (struct seen){0};
    replay(p.fd, &s);
    assert_int_equal(s.last, 2);
    teardown(&p);
}

static void rotates_and_recycles(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    fold_lsn lsn = 1;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++)
            assert_int_equal(append(p.j, lsn++), 0);
        assert_int_equal(fold_journal_sync(p.j), 0);
        assert_int_equal(fold_journal_prepare(p.j), 0);
        fold_journal_rotate(p.j);
        assert_int_equal(append(p.j, lsn++), 0);
        struct seen s = {0};
        replay(p.fd, &s);
        assert_int_equal(s.last, lsn - 1);
        uint64_t pending = fold_journal_pending(p.j);
        fold_journal_retire(p.j);
        assert_true(fold_journal_pending(p.j) < pending);
        /* Recycled bytes of a former life are no records. */
        s = (struct seen){0};
        struct fold_journal_replay out = replay(p.fd, &s);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.first, lsn - 1);
        assert_int_equal(out.dropped, 0);
    }
    uint32_t *numbers;
    size_t n;
    int dirfd = openat(p.fd, "journal", O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_journal_list(dirfd, &numbers, &n), 0);
    assert_int_equal(n, 2);
    free(numbers);
    close(dirfd);
    teardown(&p);
}

/* After a replay: what was taken stays, what was not never comes back, what is known goes. */
static void resumes_where_replay_stopped(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct place p;
        setup(&p);
        for (fold_lsn i = 1; i <= 60; i++) {
            assert_int_equal(append(p.j, i), 0);
            if (i % 20 == 0 && round < 2) {
                assert_int_equal(fold_journal_prepare(p.j), 0);
                fold_journal_rotate(p.j);
            }
        }
        fold_journal_close(p.j, false);
        /* Refused in the middle of a file, at its beginning, and nothing needed. */
        struct seen s = {.known = round == 2 ? 60 : 20, .stop_at = round == 0 ? 31 : 41};
        if (round == 2)
            s.stop_at = 0;
        struct fold_journal_replay out;
        assert_int_equal(fold_journal_open(p.fd, false, &p.j), 0);
        assert_int_equal(fold_journal_replay(p.j, see, &s, &out), 0);
        assert_int_equal(out.records, round == 0 ? 10 : round == 1 ? 20 : 0);
        assert_int_equal(out.dropped, round == 0 ? 30 : round == 1 ? 20 : 0);
        assert_int_equal(fold_journal_resume(p.j), 0);
        assert_int_equal(fold_journal_pending(p.j) > 0, round < 2);
        fold_lsn next = round == 0 ? 31 : round == 1 ? 41 : 61;
        for (fold_lsn i = next; i < next + 5; i++)
            assert_int_equal(append(p.j, i), 0);
        s = (struct seen){.known = 20};
        out = replay(p.fd, &s);
        assert_int_equal(s.last, next + 4);
        assert_int_equal(s.n, next + 4 - (round == 2 ? 60 : 20));
        assert_int_equal(out.dropped, 0);
        assert_int_equal(fold_journal_prepare(p.j), 0);
        fold_journal_rotate(p.j);
        fold_journal_retire(p.j);
        assert_int_equal(fold_journal_pending(p.j), 0);
        s = (struct seen){0};
        replay(p.fd, &s);
        assert_int_equal(s.n, 0);
        teardown(&p);
    }
}

static int fail_one_sync(void *arg, enum fold_io_op op, int fd, const char *name)
{
    int *left = arg;
    (void)fd;
    (void)name;
    return op == FOLD_IO_SYNC && (*left)-- > 0 ? -EIO : 0;
}

static void a_failed_sync_stays_failed(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    assert_int_equal(append(p.j, 1), 0);
    int left = 1;
    fold_io_set_fault(fail_one_sync, &left);
    assert_int_equal(fold_journal_sync(p.j), -EIO);
    assert_int_equal(fold_journal_sync(p.j), -EIO);
    fold_io_set_fault(NULL, NULL);
    teardown(&p);
}

/* Cuts or damages the file at every byte of the last three records: exactly the whole records
 * before it come back. */
static void survives_damage_at_every_byte(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    uint64_t ends[13] = {0};
    for (fold_lsn i = 1; i <= 12; i++) {
        assert_int_equal(append(p.j, i), 0);
        ends[i] = FOLD_JOURNAL_HEADER_BYTES + fold_journal_pending(p.j);
    }
    int fd = openat(p.fd, "journal/00000001.log", O_RDWR);
    assert_true(fd >= 0);
    for (uint64_t at = ends[9]; at < ends[12]; at++) {
        fold_lsn intact = at < ends[10] ? 9 : at < ends[11] ? 10 : 11;
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        uint8_t bad = (uint8_t)(byte ^ (1u << at % 8));
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
        struct seen s = {0};
        replay(p.fd, &s);
        assert_int_equal(s.last, intact);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    for (uint64_t at = ends[12] - 1; at >= ends[9]; at--) {
        assert_int_equal(ftruncate(fd, (off_t)at), 0);
        struct seen s = {0};
        replay(p.fd, &s);
        assert_int_equal(s.last, at < ends[10] ? 9 : at < ends[11] ? 10 : 11);
    }
    close(fd);
    teardown(&p);
}

static void tells_damage_from_a_torn_end(void **state)
{
    (void)state;
    struct place p;
    setup(&p);
    for (fold_lsn i = 1; i <= 10; i++)
        assert_int_equal(append(p.j, i), 0);
    uint64_t end = FOLD_JOURNAL_HEADER_BYTES + fold_journal_pending(p.j);
    assert_int_equal(fold_journal_prepare(p.j), 0);
    fold_journal_rotate(p.j);
    for (fold_lsn i = 11; i <= 13; i++)
        assert_int_equal(append(p.j, i), 0);
    int fd = openat(p.fd, "journal/00000001.log", O_RDWR);
    uint8_t zero = 0xee;
    assert_int_equal(pwrite(fd, &zero, 1, (off_t)end - 3), 1);
    close(fd);
    struct seen s = {0};
    struct fold_journal_replay out = replay(p.fd, &s);
    assert_int_equal(s.last, 9);
    assert_true(out.damaged);
    assert_int_equal(out.dropped, 3);
    teardown(&p);
}

/* A crash in the middle of retiring: an old file is still there, one after it is gone; the newest
 * counts all the same. */
static void retiring_may_stop_anywhere(void **state)
{
    (void)state;
    for (int gone = 1; gone <= 3; gone++) {
        struct place p;
        setup(&p);
        for (fold_lsn i = 1; i <= 40; i++) {
            assert_int_equal(append(p.j, i), 0);
            if (i % 10 == 0 && i < 40) {
                assert_int_equal(fold_journal_sync(p.j), 0);
                assert_int_equal(fold_journal_prepare(p.j), 0);
                fold_journal_rotate(p.j);
            }
        }
        char name[64];
        (void)snprintf(name, sizeof name, "journal/%08d.log", gone);
        assert_int_equal(unlinkat(p.fd, name, 0), 0);
        struct seen s = {.known = 30};
        struct fold_journal_replay out = replay(p.fd, &s);
        assert_int_equal(s.first, 31);
        assert_int_equal(s.n, 10);
        assert_false(out.damaged);
        assert_int_equal(out.dropped, 0);
        teardown(&p);
    }
}

static int fail_nth(void *arg, enum fold_io_op op, int fd, const char *name)
{
    int *left = arg;
    (void)op;
    (void)fd;
    (void)name;
    return --*left == 0 ? -ENOSPC : 0;
}

static int short_write(void *arg, enum fold_io_op op, int fd, const char *name)
{
    int *left = arg;
    (void)fd;
    (void)name;
    if (op != FOLD_IO_WRITE)
        return 0;
    --*left;
    return *left == 0 ? 10 : *left == -1 ? -EIO : 0;
}

/* Each call in turn fails: an append that failed is not there, one that succeeded is. */
static void failures_leave_no_trace(void **state)
{
    (void)state;
    for (int nth = 1; nth < 40; nth++) {
        struct place p;
        setup(&p);
        int left = nth;
        fold_io_set_fault(nth % 2 ? fail_nth : short_write, &left);
        fold_lsn done = 0;
        for (fold_lsn i = 1; i <= 12; i++) {
            if (append(p.j, done + 1) == 0)
                done++;
            if (i % 4 == 0 && fold_journal_prepare(p.j) == 0) {
                fold_journal_rotate(p.j);
            }
        }
        fold_io_set_fault(NULL, NULL);
        struct seen s = {0};
        replay(p.fd, &s);
        assert_int_equal(s.n, done);
        assert_true(done >= 11 || nth % 2 == 0);
        teardown(&p);
    }
}

/* A record taken back is written again and torn: its former bytes complete it, but it was never
 * acknowledged. */
static void a_torn_repeat_is_no_record(void **state)
{
    (void)state;
    struct place p;
    setup_taken_back(&p);
    int left = 1;
    fold_io_set_fault(short_write, &left);
    assert_int_equal(append(p.j, 2), -EIO);
    fold_io_set_fault(NULL, NULL);
    struct seen s = {0};
    replay(p.fd, &s);
    assert_int_equal(s.last, 1);
    assert_int_equal(append(p.j, 2), 0);
    teardown(&p);
}

static void golden_bytes(void **state)
{
    (void)state;
    uint8_t salt[FOLD_JOURNAL_SALT_BYTES];
    for (unsigned i = 0; i < sizeof salt; i++)
        salt[i] = (uint8_t)i;
    uint8_t header[FOLD_JOURNAL_HEADER_BYTES];
    uint32_t seed = fold_journal_header_write(header, 7, salt);
    static const uint8_t want[36] = "FOLDJRNL\1\0\0\0\7\0\0\0"
                                    "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17";
    assert_memory_equal(header, want, 32);
    for (unsigned i = 32; i < 60; i++)
        assert_int_equal(header[i], 0);
    struct fold_dep dep = {0x01020304, 0x50};
    struct fold_journal_record rec = {
        .lsn = 9, .deps = &dep, .ndeps = 1, .note = "no", .note_len = 2, .data = "abc", .len = 3};
    uint8_t head[FOLD_JOURNAL_HEAD_MAX];
    assert_int_equal(fold_journal_head_write(head, seed, &rec), 34);
    assert_memory_equal(head, "FDJ1", 4);
    assert_memory_equal(head + 8, "\45\0\0\0\2\0\1\0\11\0\0\0\0\0\0\0\4\3\2\1\120\0\0\0no", 26);
    rec.len = FOLD_JOURNAL_RECORD_MAX;
    assert_int_equal(fold_journal_head_write(head, seed, &rec), 0);
}

int main(void)
{
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_appended),
        cmocka_unit_test(takes_back_the_last_record),
        cmocka_unit_test(rotates_and_recycles),
        cmocka_unit_test(resumes_where_replay_stopped),
        cmocka_unit_test(a_failed_sync_stays_failed),
        cmocka_unit_test(survives_damage_at_every_byte),
        cmocka_unit_test(tells_damage_from_a_torn_end),
        cmocka_unit_test(retiring_may_stop_anywhere),
        cmocka_unit_test(failures_leave_no_trace),
        cmocka_unit_test(a_torn_repeat_is_no_record),
        cmocka_unit_test(golden_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
