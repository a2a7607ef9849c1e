/* SPDX-License-Identifier: MIT */
/*
 * Requests for a file whose flush lock is taken leave the thread that serves them free: what comes
 * after them is answered first, and they are once the lock is dropped. One thread serves all
 * requests here, and the same one holds the lock: waiting for it would never end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/data.h"
#include "fs/ops.h"
#include "fs/session.h"
#include "meta/base/workers.h"
#include "meta/recipe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/uio.h>

#define REPLIES 64

static char store[64];
static struct fold_session *session;
static struct fuse_session *fuse;
static uint64_t asked;

/* What was answered, in order. */
static struct fold_lock lock;
static pthread_cond_t more;
static struct answer {
    uint64_t unique;
    int error;
    uint8_t body[512];
} answers[REPLIES];
static size_t answered;

static ssize_t take_answer(int fd, struct iovec *iov, int count, void *userdata)
{
    ssize_t sum = 0;
    (void)fd;
    (void)userdata;
    fold_lock_take(&lock);
    assert(answered < REPLIES);
    struct answer *a = &answers[answered];
    const struct fuse_out_header *h = iov[0].iov_base;
    a->unique = h->unique;
    a->error = h->error;
    for (int i = 0; i < count; i++)
        sum += (ssize_t)iov[i].iov_len;
    if (count > 1)
        memcpy(a->body, iov[1].iov_base, FOLD_MIN(iov[1].iov_len, sizeof a->body));
    answered++;
    pthread_cond_broadcast(&more);
    fold_lock_drop(&lock);
    return sum;
}

static ssize_t give_nothing(int fd, void *buf, size_t len, void *userdata)
{
    (void)fd;
    (void)buf;
    (void)len;
    (void)userdata;
    return 0;
}

/* Serves one request on this thread: the argument, then a name or two. Returns its number. */
static uint64_t ask(uint32_t opcode, uint64_t node, const void *arg, size_t len, const char *name,
                    const char *second)
{
    static uint8_t mem[8192];
    struct fuse_in_header h = {.opcode = opcode, .unique = ++asked, .nodeid = node};
    size_t at = sizeof h;
    memcpy(mem + at, arg, len);
    at += len;
    if (name != NULL) {
        memcpy(mem + at, name, strlen(name) + 1);
        at += strlen(name) + 1;
    }
    if (second != NULL) {
        memcpy(mem + at, second, strlen(second) + 1);
        at += strlen(second) + 1;
    }
    h.len = (uint32_t)at;
    memcpy(mem, &h, sizeof h);
    struct fuse_buf request = {.size = at, .mem = mem};
    fuse_session_process_buf(fuse, &request);
    return h.unique;
}

/* `lock` is held. */
static const struct answer *find(uint64_t unique)
{
    for (size_t i = 0; i < answered; i++)
        if (answers[i].unique == unique)
            return &answers[i];
    return NULL;
}

/* The answer to a request, NULL if there is none yet. */
static const struct answer *answer_to(uint64_t unique)
{
    fold_lock_take(&lock);
    const struct answer *found = find(unique);
    fold_lock_drop(&lock);
    return found;
}

static const struct answer *wait_for(uint64_t unique)
{
    const struct answer *found;
    fold_lock_take(&lock);
    while ((found = find(unique)) == NULL)
        (void)fold_lock_wait(&lock, &more, NULL);
    fold_lock_drop(&lock);
    return found;
}

static uint64_t make(const char *name)
{
    struct fuse_mknod_in in = {.mode = S_IFREG | 0644};
    const struct answer *a = answer_to(ask(FUSE_MKNOD, FUSE_ROOT_ID, &in, sizeof in, name, NULL));
    struct fuse_entry_out out;
    assert_non_null(a);
    assert_int_equal(a->error, 0);
    memcpy(&out, a->body, sizeof out);
    return out.nodeid;
}

static uint64_t open_it(uint64_t node)
{
    struct fuse_open_in in = {.flags = O_RDWR};
    const struct answer *a = answer_to(ask(FUSE_OPEN, node, &in, sizeof in, NULL, NULL));
    struct fuse_open_out out;
    assert_non_null(a);
    assert_int_equal(a->error, 0);
    memcpy(&out, a->body, sizeof out);
    return out.fh;
}

static int set_up(void **state)
{
    static const struct fuse_custom_io io = {.writev = take_answer, .read = give_nothing};
    struct fold_volume_params params = {.chunker = 1, .hash = 1, .codec = 1, .chunk_size = 16384};
    struct fold_mount_options opt;
    struct fuse_lowlevel_ops ops = {0};
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 4096};
    (void)state;
    fold_lock_init(&lock, FOLD_RANK_LEAF, "answers");
    fold_cond_init(&more);
    (void)snprintf(store, sizeof store, "/tmp/fold-test-XXXXXX");
    assert_non_null(mkdtemp(store));
    assert_int_equal(fold_volume_format(store, &params), 0);
    fold_mount_options_init(&opt, true);
    opt.commit_seconds = 3600; /* nothing is stored by itself */
    assert_int_equal(fold_session_open(store, &opt, &session), 0);
    fold_ops_name(&ops);
    fold_ops_attr(&ops);
    fold_ops_file(&ops);
    fold_ops_range(&ops);
    assert_int_equal(fuse_opt_add_arg(&args, "test"), 0);
    fuse = fuse_session_new(&args, &ops, sizeof ops, session);
    assert_non_null(fuse);
    fuse_opt_free_args(&args);
    assert_int_equal(fuse_session_custom_io(fuse, &io, open("/dev/null", O_RDWR)), 0);
    (void)ask(FUSE_INIT, 0, &init, sizeof init, NULL, NULL);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(fold_session_close(session), 0);
    fuse_session_destroy(fuse);
    (void)nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void others_go_on(void **state)
{
    uint64_t node = make("busy"), fh = open_it(node);
    struct fuse_setattr_in size = {.valid = FATTR_SIZE, .size = 5};
    struct fuse_open_in empty = {.flags = O_WRONLY | O_TRUNC};
    struct fuse_write_in wr = {.fh = fh, .size = 3};
    struct fuse_flush_in flush = {.fh = fh};
    struct fuse_fsync_in fsync = {.fh = fh};
    struct fuse_rename_in to = {.newdir = FUSE_ROOT_ID};
    struct fuse_getattr_in look = {0};
    struct fold_inode *inode;
    uint64_t waits[5];
    (void)state;
    (void)make("in the way");
    (void)ask(FUSE_WRITE, node, &wr, sizeof wr, "ab", NULL);
    assert_int_equal(fold_itable_get(session->inodes, node, &inode), 0);
    fold_turn_wait(inode);
    waits[0] = ask(FUSE_SETATTR, node, &size, sizeof size, NULL, NULL);
    waits[1] = ask(FUSE_FLUSH, node, &flush, sizeof flush, NULL, NULL);
    waits[2] = ask(FUSE_FSYNC, node, &fsync, sizeof fsync, NULL, NULL);
    waits[3] = ask(FUSE_RENAME, FUSE_ROOT_ID, &to, sizeof to, "busy", "in the way");
    waits[4] = ask(FUSE_OPEN, node, &empty, sizeof empty, NULL, NULL);
    uint64_t other = make("other");
    assert_int_equal(wait_for(ask(FUSE_GETATTR, other, &look, sizeof look, NULL, NULL))->error, 0);
    assert_int_equal(wait_for(ask(FUSE_UNLINK, FUSE_ROOT_ID, "", 0, "other", NULL))->error, 0);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(waits); i++)
        assert_null(answer_to(waits[i]));
    fold_turn_drop(session, inode);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(waits); i++)
        assert_int_equal(wait_for(waits[i])->error, 0);
    fold_itable_put(session->inodes, inode);
}

struct visitor {
    struct fold_turn turn;
    bool still_needs_it; /* when it is called */
    struct fold_inode *inode;
    struct fold_visits {
        struct fold_lock lock;
        pthread_cond_t all;
        unsigned count;
    } * visits;
};

static void visit(void *arg)
{
    struct visitor *v = arg;
    struct fold_visits *visits = v->visits;
    if (!v->turn.called || v->still_needs_it) {
        if (!fold_turn_take(session, v->inode, &v->turn))
            return;
        fold_turn_drop(session, v->inode);
    }
    fold_lock_take(&visits->lock);
    visits->count++;
    pthread_cond_broadcast(&visits->all);
    fold_lock_drop(&visits->lock);
}

/* However they meet, each gets its turn. */
static void none_is_forgotten(void **state)
{
    enum { VISITORS = 20000 };
    struct fold_visits visits = {.count = 0};
    struct fold_inode *inode;
    struct visitor *all = calloc(VISITORS, sizeof *all);
    uint64_t node = make("visited");
    (void)state;
    assert_non_null(all);
    (void)open_it(node);
    fold_lock_init(&visits.lock, FOLD_RANK_LEAF, "visits");
    fold_cond_init(&visits.all);
    assert_int_equal(fold_itable_get(session->inodes, node, &inode), 0);
    for (size_t i = 0; i < VISITORS; i++) {
        if (i % (VISITORS / 4) == 0)
            fold_turn_wait(inode);
        all[i] = (struct visitor){{.fn = visit, .arg = &all[i]}, i % 3 == 0, inode, &visits};
        assert_int_equal(fold_workers_submit(session->workers, visit, &all[i]), 0);
        if (i % (VISITORS / 4) == VISITORS / 8)
            fold_turn_drop(session, inode);
    }
    fold_lock_take(&visits.lock);
    while (visits.count < VISITORS)
        (void)fold_lock_wait(&visits.lock, &visits.all, NULL);
    fold_lock_drop(&visits.lock);
    fold_itable_put(session->inodes, inode);
    pthread_cond_destroy(&visits.all);
    fold_lock_fini(&visits.lock);
    free(all);
}

/*
 * Emptying a large range gives the lock away now and then: one commit for each step, however many
 * pages it drops, and none for holes.
 */
static void punching_goes_in_steps(void **state)
{
    enum { GIB = 1 << 30 };
    uint64_t node = make("large"), fh = open_it(node);
    struct fuse_write_in wr = {.fh = fh, .size = 3};
    struct fuse_fsync_in fsync = {.fh = fh};
    struct fuse_fallocate_in hole = {.fh = fh, .mode = 3};
    static const uint64_t at[] = {1, 2, 3, 9, 1 << 20};
    (void)state;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(at); i++) {
        wr.offset = at[i] * GIB;
        assert_int_equal(wait_for(ask(FUSE_WRITE, node, &wr, sizeof wr, "ab", NULL))->error, 0);
    }
    assert_int_equal(wait_for(ask(FUSE_FSYNC, node, &fsync, sizeof fsync, NULL, NULL))->error, 0);
    struct fold_catalog *c = fold_session_catalog(session);
    fold_lsn before = fold_catalog_lsn(c);
    hole.length = (UINT64_C(1) << 60);
    assert_int_equal(wait_for(ask(FUSE_FALLOCATE, node, &hole, sizeof hole, NULL, NULL))->error, 0);
    /* One to 3, 9, 2^20, and what follows. */
    assert_int_equal(fold_catalog_lsn(c) - before, 4);
    uint64_t left = 0;
    assert_int_equal(fold_recipe_next(c, node, 0, &left), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_go_on),
        cmocka_unit_test(none_is_forgotten),
        cmocka_unit_test(punching_goes_in_steps),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
