/* SPDX-License-Identifier: MIT */
/*
 * Operations on the space of files: truncate, fallocate, holes, copies of ranges, statfs.
 */
#include "tests/mount/difftest/difftest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SIZE_MAX_NORMAL (2u << 20)
#define SIZE_MAX_SPARSE (64u << 20)

static uint64_t any_size(struct world *w, uint64_t near)
{
    switch (dt_below(w, 5)) {
    case 0:
        return 0;
    case 1:
        return dt_below(w, near + 1);
    case 2:
        return near + dt_below(w, 10000);
    case 3:
        return dt_below(w, SIZE_MAX_NORMAL) & ~(uint64_t)4095;
    default:
        return dt_below(w, dt_chance(w, 5) ? SIZE_MAX_SPARSE : SIZE_MAX_NORMAL);
    }
}

void dt_op_truncate(struct world *w)
{
    int slot = dt_chance(w, 70) ? dt_handle_pick(w) : -1;
    char path[1024] = "";
    struct stat st = {0};
    if (slot >= 0) {
        dt_watch_handle(w, slot);
        if (fstat(w->handles[slot].fd[1], &st)) {
            return;
        }
    } else {
        dt_path(w, path);
        dt_watch_path(w, path);
    }
    uint64_t size = any_size(w, (uint64_t)(S_ISREG(st.st_mode) ? st.st_size : 0));
    dt_describe(w, "truncate h%d %s size %llu", slot, path, (unsigned long long)size);
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        char full[PATH_MAX];
        errno = 0;
        ret[side] = slot >= 0 ? ftruncate(w->handles[slot].fd[side], (off_t)size)
                              : truncate(dt_full(w, side, path, full), (off_t)size);
        err[side] = errno;
    }
    dt_outcome(w, ret, err);
}

void dt_op_fallocate(struct world *w)
{
    static const int kinds[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    int slot = dt_handle_pick(w);
    struct stat st;
    if (slot < 0 || fstat(w->handles[slot].fd[1], &st)) {
        return;
    }
    int mode = kinds[dt_below(w, 6)];
    uint64_t off = dt_below(w, (uint64_t)st.st_size + 50000) % SIZE_MAX_NORMAL;
    uint64_t len = dt_length(w, 1u << 20);
    if (dt_chance(w, 30)) {
        off &= ~(uint64_t)4095;
    }
    dt_describe(w, "fallocate h%d mode %d off %llu len %llu", slot, mode, (unsigned long long)off,
                (unsigned long long)len);
    dt_watch_handle(w, slot);
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        errno = 0;
        ret[side] = fallocate(w->handles[slot].fd[side], mode, (off_t)off, (off_t)len);
        err[side] = errno;
    }
    dt_outcome(w, ret, err);
}

/* The range [from, to) of the reference must be zeros. */
static void expect_zeros(struct world *w, int slot, uint64_t from, uint64_t to)
{
    while (from < to && !w->failed) {
        size_t len = to - from < DT_IO_MAX ? (size_t)(to - from) : DT_IO_MAX;
        ssize_t got = pread(w->handles[slot].fd[1], w->buf[1], len, (off_t)from);
        if (got <= 0) {
            return;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (w->buf[1][i] != 0) {
                dt_differ(w, "a hole is reported over the data byte at %llu",
                          (unsigned long long)from + (uint64_t)i);
                return;
            }
        }
        from += (uint64_t)got;
    }
}

void dt_op_seek(struct world *w)
{
    int slot = dt_handle_pick(w);
    struct stat st;
    if (slot < 0 || w->handles[slot].dir || w->handles[slot].direct ||
        (w->handles[slot].flags & O_ACCMODE) == O_WRONLY || fstat(w->handles[slot].fd[1], &st)) {
        return;
    }
    uint64_t size = (uint64_t)st.st_size;
    uint64_t at = dt_below(w, size + 3);
    dt_describe(w, "walk holes of h%d from %llu", slot, (unsigned long long)at);
    int fd = w->handles[slot].fd[0];
    off_t keep = lseek(fd, 0, SEEK_CUR);
    while (!w->failed) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0) {
            if (errno != ENXIO) {
                dt_differ(w, "SEEK_DATA: %s", strerror(errno));
            }
            expect_zeros(w, slot, at, size);
            break;
        }
        if ((uint64_t)data < at || (uint64_t)data >= size) {
            dt_differ(w, "SEEK_DATA from %llu gives %lld, size %llu", (unsigned long long)at,
                      (long long)data, (unsigned long long)size);
        }
        expect_zeros(w, slot, at, (uint64_t)data);
        off_t hole = lseek(fd, data, SEEK_HOLE);
        if (hole <= data || (uint64_t)hole > size) {
            dt_differ(w, "SEEK_HOLE from %lld gives %lld, size %llu", (long long)data,
                      (long long)hole, (unsigned long long)size);
        }
        at = (uint64_t)hole;
    }
    if (lseek(fd, (off_t)size, SEEK_HOLE) >= 0 || errno != ENXIO) {
        dt_differ(w, "SEEK_HOLE at the end of the file is not ENXIO");
    }
    lseek(fd, keep, SEEK_SET);
}

static long copy_range_whole(int in, off_t from, int out, off_t to, size_t len)
{
    long total = 0;
    while (len > 0) {
        ssize_t n = copy_file_range(in, &from, out, &to, len, 0);
        if (n < 0) {
            return total > 0 ? total : -1;
        }
        if (n == 0) {
            break;
        }
        total += n;
        len -= (size_t)n;
    }
    return total;
}

void dt_op_copy_range(struct world *w)
{
    int in = dt_handle_pick(w);
    int out = dt_handle_pick(w);
    struct stat st;
    if (in < 0 || out < 0 || w->handles[in].direct || w->handles[out].direct ||
        fstat(w->handles[in].fd[1], &st)) {
        return;
    }
    uint64_t mask = dt_chance(w, 50) ? ~(uint64_t)0 : ~(uint64_t)4095;
    uint64_t from = dt_below(w, (uint64_t)st.st_size + 1) & mask;
    uint64_t to = dt_below(w, dt_chance(w, 80) ? 300000 : SIZE_MAX_NORMAL) & mask;
    size_t len = (size_t)(dt_chance(w, 30) ? SIZE_MAX_NORMAL : dt_length(w, 1u << 20));
    dt_describe(w, "copy_file_range h%d at %llu -> h%d at %llu len %zu", in,
                (unsigned long long)from, out, (unsigned long long)to, len);
    dt_watch_handle(w, out);
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        errno = 0;
        ret[side] = copy_range_whole(w->handles[in].fd[side], (off_t)from, w->handles[out].fd[side],
                                     (off_t)to, len);
        err[side] = errno;
    }
    dt_outcome(w, ret, err);
}

void dt_op_statfs(struct world *w)
{
    struct statvfs st;
    dt_describe(w, "statvfs");
    if (statvfs(w->root[0], &st) != 0) {
        dt_differ(w, "statvfs: %s", strerror(errno));
    } else if (st.f_namemax != 255 || st.f_bsize == 0 || st.f_frsize == 0 || st.f_blocks == 0 ||
               st.f_bavail > st.f_bfree || st.f_bfree > st.f_blocks || st.f_ffree > st.f_files) {
        dt_differ(w, "statvfs is not plausible: bsize %lu frsize %lu blocks %lu free %lu avail %lu",
                  st.f_bsize, st.f_frsize, (unsigned long)st.f_blocks, (unsigned long)st.f_bfree,
                  (unsigned long)st.f_bavail);
    }
}
