/* SPDX-License-Identifier: MIT */
/*
 * crashwork run DIR SEED OPS PROGRESS [LOG WORKER] [PAUSE_US]
 * crashwork check DIR SEED BEGUN ACKED SETTLED kill|power|paced
 * crashwork list SEED OPS
 *
 * `run` works on DIR until OPS operations are done or one fails, keeping the counts of begun and
 * acknowledged operations in the mapped file PROGRESS, and as marks in LOG. It exits 0 also when an
 * operation failed with an error of a dead mount, 1 on any other. `check` judges what is in DIR by
 * those counts: after the death of the daemon, after a power cut, or after one where background
 * commits came in between.
 */
#include "tests/crash/crashlog.h"
#include "tests/crash/crashwork.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct runner {
    const char *top;
    int fds[CW_HANDLES];
    int log_fd;
    uint64_t worker;
    volatile uint64_t *progress; /* begun, acknowledged */
    uint8_t *buf;
};

static struct cw_model model;

static void mark(const struct runner *r, unsigned op, bool done)
{
    r->progress[done] = op + 1;
    if (r->log_fd >= 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        struct crashlog_record rec = {.magic = CRASHLOG_MAGIC,
                                      .kind = CRASHLOG_MARK,
                                      .node = r->worker,
                                      .off = op,
                                      .aux = done,
                                      .time_ns = (uint64_t)now.tv_sec * 1000000000u +
                                                 (uint64_t)now.tv_nsec};
        if (write(r->log_fd, &rec, sizeof rec) != sizeof rec) {
            perror("crashwork: log");
            exit(2);
        }
    }
}

static int do_open(struct runner *r, const struct cw_op *op)
{
    char path[4096];
    cw_path(r->top, op->kind == CW_CREATE ? op->b : op->a, path);
    int flags = O_RDWR | O_CLOEXEC | (op->sync ? O_SYNC : 0) | (op->trunc ? O_TRUNC : 0);
    if (op->content % 3 == 0) {
        flags = (flags & ~O_RDWR) | O_WRONLY;
    }
    r->fds[op->h] = open(path, flags | (op->kind == CW_CREATE ? O_CREAT | O_EXCL : 0), 0644);
    return r->fds[op->h] < 0 ? -1 : 0;
}

static int do_copy(struct runner *r, const struct cw_op *op)
{
    char path[4096];
    cw_path(r->top, op->a, path);
    int in = open(path, O_RDONLY | O_CLOEXEC);
    off_t from = (off_t)op->from;
    off_t to = (off_t)op->off;
    int bad = in < 0;
    for (size_t left = op->len; left > 0 && !bad;) {
        ssize_t n = copy_file_range(in, &from, r->fds[op->h], &to, left, 0);
        bad = n <= 0;
        left -= bad ? 0 : (size_t)n;
    }
    if (in >= 0) {
        int saved = errno;
        close(in);
        errno = saved;
    }
    return bad ? -1 : 0;
}

static int do_names(struct runner *r, const struct cw_op *op)
{
    char a[4096];
    char b[4096];
    cw_path(r->top, op->a, a);
    cw_path(r->top, op->b, b);
    switch (op->kind) {
    case CW_RENAME:
        return rename(a, b);
    case CW_UNLINK:
        return unlink(a);
    case CW_LINK:
        return link(a, b);
    default:
        break;
    }
    cw_dir_path(r->top, op->a, a);
    if (op->kind == CW_MKDIR) {
        return mkdir(a, 0755);
    }
    int fd = open(a, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ret = fd < 0 ? -1 : fsync(fd);
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = saved;
    return ret;
}

static int execute(struct runner *r, const struct cw_op *op)
{
    int fd = op->h >= 0 ? r->fds[op->h] : -1; /* operations on names have no handle */
    switch (op->kind) {
    case CW_CREATE:
    case CW_OPEN:
        return do_open(r, op);
    case CW_WRITE:
        cw_content(op, r->buf);
        errno = EIO;
        return pwrite(fd, r->buf, op->len, (off_t)op->off) == (ssize_t)op->len ? 0 : -1;
    case CW_TRUNCATE:
        return ftruncate(fd, (off_t)op->off);
    case CW_PUNCH:
        return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->off, op->len);
    case CW_COPY:
        return do_copy(r, op);
    case CW_FSYNC:
        return fsync(fd);
    case CW_FDATASYNC:
        return fdatasync(fd);
    case CW_CLOSE:
        return close(fd);
    default:
        return do_names(r, op);
    }
}

static int run(int argc, char **argv)
{
    struct runner r = {.top = argv[0], .log_fd = -1};
    unsigned ops = (unsigned)strtoul(argv[2], NULL, 10);
    int fd = open(argv[3], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 16) != 0) {
        perror(argv[3]);
        return 2;
    }
    r.progress = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    static uint8_t buf[CW_SIZE];
    r.buf = buf;
    if (argc > 5) {
        r.log_fd = open(argv[4], O_WRONLY | O_APPEND | O_CLOEXEC);
        r.worker = strtoull(argv[5], NULL, 10);
    }
    unsigned pause_us = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0;
    cw_start(&model, strtoull(argv[1], NULL, 10));
    for (unsigned i = 0; i < ops; i++) {
        struct cw_op op;
        cw_next(&model, &op);
        mark(&r, i, false);
        cw_begin(&model, &op);
        if (execute(&r, &op) != 0) {
            /* ECANCELED: the ring that held the request went with the daemon. */
            bool dead =
                errno == ENOTCONN || errno == ECONNABORTED || errno == ECANCELED || errno == EIO;
            fprintf(stderr, "crashwork: operation %u, kind %d: %s\n", i, (int)op.kind,
                    strerror(errno));
            return dead ? 0 : 1;
        }
        mark(&r, i, true);
        cw_ack(&model, &op);
        if (pause_us) {
            usleep(pause_us);
        }
    }
    return 0;
}

static int check(char **argv)
{
    unsigned begun = (unsigned)strtoul(argv[2], NULL, 10);
    unsigned acked = (unsigned)strtoul(argv[3], NULL, 10);
    unsigned settled = (unsigned)strtoul(argv[4], NULL, 10);
    model.contents = true;
    model.timer = strcmp(argv[5], "paced") == 0;
    model.power = model.timer || strcmp(argv[5], "power") == 0;
    cw_start(&model, strtoull(argv[1], NULL, 10));
    for (unsigned i = 0; i < begun; i++) {
        struct cw_op op;
        cw_next(&model, &op);
        cw_begin(&model, &op);
        if (i < acked) {
            cw_ack(&model, &op);
        }
        if (i + 1 == settled) {
            cw_settle(&model);
        }
    }
    return cw_check(&model, argv[0]);
}

static int list(char **argv)
{
    static const char *const names[CW_KINDS] = {
        "mkdir", "create",    "open",  "write",  "truncate", "punch", "copy",
        "fsync", "fdatasync", "close", "rename", "unlink",   "link",  "fsyncdir"};
    unsigned ops = (unsigned)strtoul(argv[1], NULL, 10);
    cw_start(&model, strtoull(argv[0], NULL, 10));
    for (unsigned i = 0; i < ops; i++) {
        struct cw_op op;
        cw_next(&model, &op);
        int obj =
            op.h >= 0 && op.kind >= CW_WRITE && op.kind <= CW_CLOSE ? model.handles[op.h].obj : -1;
        cw_begin(&model, &op);
        cw_ack(&model, &op);
        printf("%u %s a=f%d b=f%d h%d (object %d) off %llu len %u%s%s\n", i, names[op.kind], op.a,
               op.b, op.h, obj, (unsigned long long)op.off, op.len, op.trunc ? " O_TRUNC" : "",
               op.sync ? " O_SYNC" : "");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "run") == 0) {
        return run(argc - 2, argv + 2);
    }
    if (argc == 8 && strcmp(argv[1], "check") == 0) {
        return check(argv + 2);
    }
    if (argc == 4 && strcmp(argv[1], "list") == 0) {
        return list(argv + 2);
    }
    fprintf(stderr, "usage: crashwork run DIR SEED OPS PROGRESS [LOG WORKER [PAUSE_US]]\n"
                    "       crashwork check DIR SEED BEGUN ACKED SETTLED kill|power|paced\n"
                    "       crashwork list SEED OPS\n");
    return 2;
}
