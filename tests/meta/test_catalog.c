/* SPDX-License-Identifier: MIT */
/*
 * Commits, replay, checkpoints, and the death of process or power at each of their steps.
 */
#include "tests/meta/catalog_steps.h"

#include <dirent.h>
#include <sys/wait.h>

static void a_new_catalog_has_a_root(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_attr a;
    assert_int_equal(fold_inode_load(r.c, FOLD_INO_ROOT, &a), 0);
    assert_int_equal(a.mode, S_IFDIR | 0755);
    assert_int_equal(a.uid, getuid());
    assert_int_equal(a.nlink, 2);
    struct fold_counters sum;
    fold_catalog_counters(r.c, &sum);
    assert_int_equal(sum.files, 0);
    assert_int_equal(sum.directories, 1);
    assert_int_equal(fold_catalog_new_ino(r.c), 2);
    assert_int_equal(fold_catalog_new_ino(r.c), 3);
    assert_int_equal(prefix(r.c), 0);
    rig_destroy(&r);
}

static void commits_survive_the_process(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    fold_ino ino = fold_catalog_new_ino(r.c);
    commit_many(r.c, 100);
    assert_int_equal(prefix(r.c), 100);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 100);
    assert_true(fold_catalog_new_ino(r.c) > ino);
    commit_many(r.c, 50);
    rig_reopen(&r, false);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 150);
    rig_destroy(&r);
}

static void a_clean_close_leaves_nothing_to_replay(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 30);
    assert_int_equal(rig_close(&r, true), 0);
    /* Without a journal there is nothing to replay from. */
    int dirfd = openat(r.fd, "journal", O_RDONLY | O_DIRECTORY);
    DIR *dir = fdopendir(dirfd);
    const struct dirent *e;
    while ((e = readdir(dir)) != NULL)
        (void)unlinkat(dirfd, e->d_name, 0);
    closedir(dir);
    rig_open(&r);
    assert_int_equal(prefix(r.c), 30);
    commit_many(r.c, 3);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 33);
    rig_destroy(&r);
}

static void an_aborted_transaction_changes_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 2);
    struct fold_txn *t = fold_txn_begin(r.c);
    struct fold_attr a = {.ino = 100, .size = 77};
    fold_inode_store(t, &a);
    fold_txn_count(t, 9, 9, 9, 9);
    fold_txn_abort(t);
    assert_int_equal(prefix(r.c), 2);
    rig_destroy(&r);
}

static void sync_makes_durable(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 5);
    assert_int_equal(fold_catalog_durable(r.c), 0);
    int before = r.store.syncs;
    assert_int_equal(fold_catalog_sync(r.c, 5), 0);
    assert_int_equal(fold_catalog_durable(r.c), 5);
    assert_int_equal(r.store.syncs, before + 1);
    assert_int_equal(fold_catalog_sync(r.c, 4), 0);
    assert_int_equal(r.store.syncs, before + 1);
    rig_destroy(&r);
}

/* Little data goes with the journal: the store is not synced, and its records are no commits when
 * replayed. */
static void small_data_travels_in_the_journal(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    r.store.logs = true;
    int before = r.store.syncs;
    fold_lsn lsn;
    struct fold_attr a = {.ino = 7};
    for (uint64_t i = 1; i <= 5; i++) {
        struct fold_txn *t = fold_txn_begin(r.c);
        a.size = i;
        fold_inode_store(t, &a);
        lsn = rig_commit(t);
        assert_int_equal(fold_catalog_sync(r.c, lsn), 0);
        assert_true(fold_catalog_durable(r.c) >= lsn);
    }
    assert_int_equal(r.store.syncs, before);
    fold_lsn newest = fold_catalog_lsn(r.c);
    assert_true(newest > lsn);
    rig_reopen(&r, false);
    assert_int_equal(fold_catalog_lsn(r.c), newest);
    assert_int_equal(fold_inode_load(r.c, 7, &a), 0);
    assert_int_equal(a.size, 5);
    rig_destroy(&r);
}

static void a_failed_sync_is_final(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 5);
    r.store.sync_rc = -EIO;
    assert_int_equal(fold_catalog_sync(r.c, 5), -EIO);
    r.store.sync_rc = 0;
    assert_int_equal(fold_catalog_sync(r.c, 5), -EIO);
    assert_int_equal(fold_catalog_durable(r.c), 0);
    fold_lsn lsn;
    assert_int_equal(commit_next(r.c, &lsn), -FOLD_E_SICK);
    assert_true(fold_catalog_checkpoint(r.c) < 0);
    assert_int_equal(prefix(r.c), 5);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 5);
    commit_many(r.c, 1);
    rig_destroy(&r);
}

/* Commits whose data was lost are dropped with all that follow, for ever. */
static void lost_data_cuts_the_history(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 10);
    r.store.deps[0] = (struct fold_dep){1, 500};
    r.store.ndeps = 1;
    commit_many(r.c, 10);
    r.store.deps[0].end = 900;
    commit_many(r.c, 1);
    r.store.ndeps = 0;
    commit_many(r.c, 10);
    assert_int_equal(rig_close(&r, false), 0);
    r.store.survived = 600;
    rig_open(&r);
    assert_int_equal(prefix(r.c), 20);
    assert_int_equal(rig_close(&r, false), 0);
    r.store.survived = UINT32_MAX;
    rig_open(&r);
    assert_int_equal(prefix(r.c), 20);
    commit_many(r.c, 2);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 22);
    rig_destroy(&r);
}

static void checkpoints_keep_everything(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    for (int i = 0; i < 6; i++) {
        commit_many(r.c, 40);
        assert_int_equal(fold_catalog_checkpoint(r.c), 0);
        assert_int_equal(fold_catalog_durable(r.c), fold_catalog_lsn(r.c));
        commit_many(r.c, 7);
        assert_int_equal(prefix(r.c), (i + 1) * 47);
        if (i % 2 == 0)
            rig_reopen(&r, i % 4 == 0);
    }
    assert_int_equal(prefix(r.c), 6 * 47);
    assert_true(fold_catalog_bytes(r.c) > 0);
    rig_destroy(&r);
}

/* The background thread keeps the journal near its limit. */
static void the_journal_stays_small(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    assert_int_equal(rig_close(&r, true), 0);
    struct fold_catalog_options opt = {.cache_bytes = 1 << 20, .journal_bytes = 64 << 10};
    assert_int_equal(rig_try_open(&r, opt), 0);
    uint64_t most = 0;
    for (int i = 0; i < 5000; i++) {
        commit_many(r.c, 1);
        most = FOLD_MAX(most, atomic_load(&r.c->pending));
    }
    assert_true(most < 5 * opt.journal_bytes);
    assert_int_equal(prefix(r.c), 5000);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 5000);
    rig_destroy(&r);
}

struct writer {
    struct fold_catalog *c;
    _Atomic int failed;
    int n;
    fold_ino ino;
};

static void *write_and_sync(void *arg)
{
    struct writer *w = arg;
    for (int i = 1; i <= w->n; i++) {
        struct fold_txn *t = fold_txn_begin(w->c);
        struct fold_attr a = {.ino = w->ino, .size = (uint64_t)i};
        fold_inode_store(t, &a);
        fold_lsn lsn;
        if (fold_txn_commit(t, &lsn) < 0 || fold_catalog_sync(w->c, lsn) < 0 ||
            fold_catalog_durable(w->c) < lsn || fold_inode_load(w->c, w->ino, &a) < 0 ||
            a.size != (uint64_t)i)
            w->failed = 1;
        if (i % 50 == 0 && fold_catalog_checkpoint(w->c) < 0)
            w->failed = 1;
    }
    return NULL;
}

static void many_threads_share_syncs(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct writer w[4];
    pthread_t threads[4];
    int before = r.store.syncs;
    for (int i = 0; i < 4; i++) {
        w[i] = (struct writer){.c = r.c, .n = 200, .ino = 1000 + (fold_ino)i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_sync, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(w[i].failed, 0);
    }
    assert_true(r.store.syncs - before <= 4 * 200 + 3 * 16);
    rig_reopen(&r, false);
    for (int i = 0; i < 4; i++) {
        struct fold_attr a;
        assert_int_equal(fold_inode_load(r.c, w[i].ino, &a), 0);
        assert_int_equal(a.size, 200);
    }
    rig_destroy(&r);
}

/* Commits something whose data is not durable yet. */
static void commit_late(void *arg, enum fold_step step)
{
    struct rig *r = arg;
    if (step != FOLD_STEP_RETIRED)
        return;
    r->store.deps[0] = (struct fold_dep){1, 100};
    r->store.ndeps = 1;
    struct fold_txn *t = fold_txn_begin(r->c);
    struct fold_attr a = {.ino = 500, .mode = S_IFREG | 0644};
    fold_inode_store(t, &a);
    (void)rig_commit(t);
    atomic_store(&r->store.syncs, 0);
}

static void shrinking_writes_no_commit_ahead_of_its_data(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 20);
    fold_step_set_hook(commit_late, &r);
    assert_int_equal(fold_catalog_shrink(r.c, NULL, NULL), 0);
    fold_step_set_hook(NULL, NULL);
    fold_lsn late = fold_catalog_lsn(r.c);
    bool synced = atomic_load(&r.store.syncs) > 0;
    /* The power fails: what was not synced is gone. */
    r.store.survived = synced ? UINT32_MAX : 0;
    rig_reopen(&r, false);
    struct fold_attr a;
    int rc = fold_inode_load(r.c, 500, &a);
    assert_true(rc == 0 || rc == -ENOENT);
    assert_true(synced || rc == -ENOENT);
    assert_int_equal(fold_catalog_lsn(r.c) == late, rc == 0);
    commit_many(r.c, 1);
    rig_destroy(&r);
}

static const char *program; /* as it was called; /proc/self/exe would be valgrind under valgrind */

struct death {
    enum fold_step step;
    int skip; /* pass the step this many times first */
};

static void die(void *arg, enum fold_step step)
{
    struct death *d = arg;
    if (step == d->step && d->skip-- == 0)
        _exit(42);
}

/* The dying process: commits and checkpoints until the step kills it; each acknowledged lsn goes to
 * stdout. */
static int run_until_death(const char *path, struct death d)
{
    struct rig r = {.store = {.survived = UINT32_MAX}};
    fold_log_set_level(FOLD_LOG_ERROR);
    r.fd = open(path, O_RDONLY | O_DIRECTORY);
    fold_step_set_hook(die, &d);
    if (rig_try_open(&r, (struct fold_catalog_options){0}) < 0)
        return 1;
    for (int i = 0; i < 60; i++) {
        fold_lsn lsn;
        if (commit_next(r.c, &lsn) < 0 || write(1, &lsn, sizeof lsn) != (ssize_t)sizeof lsn)
            return 2;
        if (i % 10 == 9 && fold_catalog_checkpoint(r.c) < 0)
            return 3;
    }
    _exit(0);
}

/* Runs this program again as the dying process (the database's threads do not survive a mere fork).
 */
static fold_lsn die_at(struct rig *r, struct death d, int *status)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    char step[16], skip[16];
    (void)snprintf(step, sizeof step, "%d", (int)d.step);
    (void)snprintf(skip, sizeof skip, "%d", d.skip);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(pipes[1], 1);
        close(pipes[0]);
        close(pipes[1]);
        (void)execlp(program, "test_catalog", r->path, step, skip, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    fold_lsn last = 0, lsn;
    while (read(pipes[0], &lsn, sizeof lsn) == (ssize_t)sizeof lsn)
        last = lsn;
    close(pipes[0]);
    assert_int_equal(waitpid(pid, status, 0), pid);
    return last;
}

static void dying_at_any_step_loses_nothing(void **state)
{
    (void)state;
    for (int step = FOLD_STEP_STORE_SYNCED; step <= FOLD_STEP_RESTARTED; step++)
        for (int skip = 0; skip < 2; skip++) {
            struct rig r;
            rig_create(&r);
            commit_many(r.c, 5);
            assert_int_equal(rig_close(&r, false), 0);
            int status;
            fold_lsn acked = die_at(&r, (struct death){(enum fold_step)step, skip}, &status);
            assert_true(WIFEXITED(status));
            bool only_once = step >= FOLD_STEP_REPLAYED && skip > 0;
            assert_int_equal(WEXITSTATUS(status), only_once ? 0 : 42);
            rig_open(&r);
            fold_lsn p = prefix(r.c);
            /* The commit that was under way may have made it. */
            assert_true(p >= FOLD_MAX(acked, (fold_lsn)5));
            assert_true(p <= FOLD_MAX(acked, (fold_lsn)5) + (step == FOLD_STEP_APPENDED));
            commit_many(r.c, 1);
            rig_reopen(&r, false);
            assert_int_equal(prefix(r.c), p + 1);
            rig_destroy(&r);
        }
}

/*
 * Power cut: the journal as it was at its last sync, the rest as it is. `synced` keeps what each
 * journal file held when it was last synced.
 */
struct platter {
    struct rig *r;
    char image[64]; /* taken at the step */
    struct death when;
    bool taken;
    fold_lsn durable, newest;
    struct {
        ino_t ino;
        size_t len;
        char *data;
    } synced[16];
};

static int note_sync(void *arg, enum fold_io_op op, int fd, const char *name)
{
    struct platter *p = arg;
    struct stat st;
    (void)name;
    if (op != FOLD_IO_SYNC || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    size_t i = 0;
    while (p->synced[i].ino != 0 && p->synced[i].ino != st.st_ino)
        i++;
    assert_true(i < FOLD_ARRAY_LEN(p->synced));
    p->synced[i].ino = st.st_ino;
    p->synced[i].len = (size_t)FOLD_MIN(st.st_size, (off_t)1 << 20);
    p->synced[i].data = realloc(p->synced[i].data, p->synced[i].len + 1);
    assert_int_equal(pread(fd, p->synced[i].data, p->synced[i].len, 0), p->synced[i].len);
    return 0;
}

static void take_image(void *arg, enum fold_step step)
{
    struct platter *p = arg;
    if (step != p->when.step || p->taken || p->when.skip-- > 0)
        return;
    p->taken = true;
    p->durable = fold_catalog_durable(p->r->c);
    p->newest = fold_catalog_lsn(p->r->c);
    char command[512];
    rig_temp(p->image);
    (void)snprintf(command, sizeof command, "cp -r %s/. %s", p->r->path, p->image);
    assert_int_equal(system(command), 0);
    (void)snprintf(command, sizeof command, "%s/journal", p->r->path);
    DIR *dir = opendir(command);
    const struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(command, sizeof command, "%s/journal/%s", p->image, e->d_name);
        int fd = open(command, O_WRONLY | O_TRUNC);
        for (size_t i = 0; i < FOLD_ARRAY_LEN(p->synced); i++)
            if (p->synced[i].ino == e->d_ino)
                assert_int_equal(write(fd, p->synced[i].data, p->synced[i].len), p->synced[i].len);
        close(fd);
    }
    closedir(dir);
}

static void cut_power_at(enum fold_step step, int skip)
{
    struct rig r;
    rig_create(&r);
    struct platter p = {.r = &r, .when = {step, skip}};
    fold_io_set_fault(note_sync, &p);
    fold_step_set_hook(take_image, &p);
    for (int i = 0; i < 40; i++) {
        commit_many(r.c, 1);
        if (i % 7 == 3)
            assert_int_equal(fold_catalog_sync(r.c, fold_catalog_lsn(r.c)), 0);
        if (i % 15 == 14) /* few: compaction must not delete files under the copy */
            assert_int_equal(fold_catalog_checkpoint(r.c), 0);
    }
    fold_step_set_hook(NULL, NULL);
    fold_io_set_fault(NULL, NULL);
    assert_true(p.taken);
    struct rig cut = {.store = {.survived = UINT32_MAX}};
    memcpy(cut.path, p.image, sizeof cut.path);
    cut.fd = open(cut.path, O_RDONLY | O_DIRECTORY);
    rig_open(&cut);
    fold_lsn got = prefix(cut.c);
    assert_true(got >= p.durable);
    assert_true(got <= p.newest);
    commit_many(cut.c, 3);
    rig_reopen(&cut, false);
    assert_int_equal(prefix(cut.c), got + 3);
    rig_destroy(&cut);
    rig_destroy(&r);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(p.synced); i++)
        free(p.synced[i].data);
}

static void a_power_cut_keeps_what_is_durable(void **state)
{
    (void)state;
    for (int step = FOLD_STEP_STORE_SYNCED; step <= FOLD_STEP_RETIRED; step++)
        for (int skip = 0; skip < 2; skip++)
            cut_power_at((enum fold_step)step, skip);
    for (int skip = 0; skip < 40; skip += 3)
        cut_power_at(FOLD_STEP_APPENDED, skip);
}

/* Every file of the store with its size and modification time, as one number. */
static uint64_t print_of;
static int add_print(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)flag;
    (void)ftw;
    for (const char *s = path; *s != '\0'; s++)
        print_of = print_of * 31 + (uint64_t)*s;
    print_of = print_of * 31 + (uint64_t)st->st_size;
    print_of = print_of * 31 + (uint64_t)st->st_mtim.tv_nsec + (uint64_t)st->st_ino;
    return 0;
}

static uint64_t fingerprint(const char *path)
{
    print_of = 1;
    assert_int_equal(nftw(path, add_print, 16, FTW_PHYS), 0);
    return print_of;
}

static void reading_only_changes_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    commit_many(r.c, 20);
    assert_int_equal(fold_catalog_checkpoint(r.c), 0);
    commit_many(r.c, 10);
    assert_int_equal(rig_close(&r, false), 0);
    uint64_t before = fingerprint(r.path);
    struct fold_catalog_options opt = {.read_only = true};
    assert_int_equal(rig_try_open(&r, opt), 0);
    assert_int_equal(prefix(r.c), 30);
    fold_lsn lsn;
    assert_int_equal(commit_next(r.c, &lsn), -EROFS);
    assert_int_equal(fold_catalog_checkpoint(r.c), 0);
    assert_int_equal(rig_close(&r, true), 0);
    assert_int_equal(fingerprint(r.path), before);
    rig_open(&r);
    assert_int_equal(prefix(r.c), 30);
    rig_destroy(&r);
}

static void damage_is_told(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    fold_kv_batch_put(t->batch, FOLD_KEY_COUNTERS, sizeof FOLD_KEY_COUNTERS - 1, "x", 1);
    assert_int_equal(fold_kv_write(r.c->kv, t->batch), 0);
    fold_txn_abort(t);
    assert_int_equal(fold_kv_flush(r.c->kv, true), 0);
    assert_int_equal(rig_close(&r, false), 0);
    assert_int_equal(rig_try_open(&r, (struct fold_catalog_options){0}), -FOLD_E_BAD_CATALOG);
    rig_destroy(&r);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return run_until_death(argv[1], (struct death){(enum fold_step)strtol(argv[2], NULL, 10),
                                                       (int)strtol(argv[3], NULL, 10)});
    program = argv[0];
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_catalog_has_a_root),
        cmocka_unit_test(commits_survive_the_process),
        cmocka_unit_test(a_clean_close_leaves_nothing_to_replay),
        cmocka_unit_test(an_aborted_transaction_changes_nothing),
        cmocka_unit_test(sync_makes_durable),
        cmocka_unit_test(small_data_travels_in_the_journal),
        cmocka_unit_test(a_failed_sync_is_final),
        cmocka_unit_test(lost_data_cuts_the_history),
        cmocka_unit_test(checkpoints_keep_everything),
        cmocka_unit_test(shrinking_writes_no_commit_ahead_of_its_data),
        cmocka_unit_test(the_journal_stays_small),
        cmocka_unit_test(many_threads_share_syncs),
        cmocka_unit_test(dying_at_any_step_loses_nothing),
        cmocka_unit_test(a_power_cut_keeps_what_is_durable),
        cmocka_unit_test(reading_only_changes_nothing),
        cmocka_unit_test(damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
