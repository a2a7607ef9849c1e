/* SPDX-License-Identifier: MIT */
/*
 * Operations on open files: reading, writing, mapping, syncing.
 */
#include "tests/mount/difftest/difftest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define BOTH(expr) DT_BOTH(int fd = w->handles[slot].fd[side], expr)

#define FILE_MAX (3u << 20)

int dt_handle_pick(struct world *w)
{
    int first = (int)dt_below(w, DT_HANDLES);
    for (int turn = 0; turn < DT_HANDLES; turn++) {
        int slot = (first + turn) % DT_HANDLES;
        if (w->handles[slot].fd[0] >= 0 && (!w->handles[slot].dir || dt_chance(w, 5))) {
            return slot;
        }
    }
    return -1;
}

void dt_handle_close(struct world *w, int slot)
{
    struct handle *h = &w->handles[slot];
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        ret[side] = h->fd[side] >= 0 ? close(h->fd[side]) : 0;
        err[side] = errno;
        h->fd[side] = -1;
    }
    dt_outcome(w, ret, err);
}

void dt_handle_close_all(struct world *w)
{
    for (int slot = 0; slot < DT_HANDLES; slot++) {
        dt_handle_close(w, slot);
    }
}

void dt_op_open(struct world *w)
{
    static const int access[] = {O_RDWR, O_RDWR, O_RDWR, O_WRONLY, O_WRONLY, O_RDONLY};
    char path[1024];
    char full[PATH_MAX];
    dt_path(w, path);
    int flags = access[dt_below(w, 6)] | O_NONBLOCK | O_CLOEXEC;
    flags |= dt_chance(w, 60) ? O_CREAT : 0;
    flags |= dt_chance(w, 10) ? O_EXCL : 0;
    flags |= dt_chance(w, 15) ? O_TRUNC : 0;
    flags |= dt_chance(w, 5) ? O_SYNC : 0;
    flags |= dt_chance(w, 5) ? O_NOFOLLOW : 0;
    flags |= dt_chance(w, 15) ? O_DIRECT : dt_chance(w, 15) ? O_APPEND : 0;
    if (dt_chance(w, 12))
        flags = (flags & ~O_CREAT) | O_TMPFILE; /* only directories take it */
    mode_t mode = dt_chance(w, 70) ? 0644 : (mode_t)dt_below(w, 07777 + 1);
    int slot = (int)dt_below(w, DT_HANDLES);
    for (int turn = 0; turn < DT_HANDLES && w->handles[slot].fd[0] >= 0; turn++) {
        slot = (slot + 1) % DT_HANDLES;
    }
    struct stat st;
    if (stat(dt_full(w, 1, path, full), &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        dt_describe(w, "skip opening %s", path);
        return;
    }
    dt_describe(w, "h%d = open %s flags %o mode %o", slot, path, flags, mode);
    dt_handle_close(w, slot);
    dt_watch_path(w, path);
    struct handle *h = &w->handles[slot];
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        errno = 0;
        h->fd[side] = open(dt_full(w, side, path, full), flags, mode);
        err[side] = errno;
        ret[side] = h->fd[side] < 0 ? -1 : 0;
    }
    h->flags = flags;
    h->direct = flags & O_DIRECT;
    if (dt_outcome(w, ret, err)) {
        h->dir = fstat(h->fd[1], &st) == 0 && S_ISDIR(st.st_mode);
        dt_remember(w, path);
        dt_watch_handle(w, slot);
    }
}

void dt_op_close(struct world *w)
{
    int slot = dt_handle_pick(w);
    if (slot >= 0) {
        dt_describe(w, "close h%d", slot);
        dt_handle_close(w, slot);
    }
}

static void any_range(struct world *w, const struct handle *h, uint64_t *off, size_t *len)
{
    struct stat st;
    *len = (size_t)dt_length(w, DT_IO_MAX);
    uint64_t size = fstat(h->fd[1], &st) == 0 ? (uint64_t)st.st_size : 0;
    uint64_t top = dt_chance(w, 70) ? size + 1 : size + 100000;
    *off = dt_below(w, top < FILE_MAX ? top : FILE_MAX);
    if (h->direct) {
        *off &= ~(uint64_t)4095;
        *len = (*len + 4095) & ~(size_t)4095;
        *len = *len > DT_IO_MAX ? DT_IO_MAX : *len;
    }
}

/* The place of the n-th piece of a burst. */
static size_t burst_place(unsigned order, size_t n, size_t count)
{
    switch (order) {
    case 0:
        return n;
    case 1:
        return count - 1 - n;
    case 2:
        return n * 7919 % count; /* all of them: the prime is larger than any count */
    default:
        return n % 2 == 0 ? n / 2 : count - 1 - n / 2; /* from both ends */
    }
}

/* Very many small pieces beside each other, in an order that lets none merge with the one before.
 */
void dt_op_burst(struct world *w)
{
    int slot = dt_handle_pick(w);
    if (slot < 0 || w->handles[slot].direct)
        return;
    uint64_t off;
    size_t len, size = dt_below(w, 40) + 1, count = dt_below(w, dt_chance(w, 20) ? 3000 : 300) + 20;
    unsigned order = (unsigned)dt_below(w, 4);
    any_range(w, &w->handles[slot], &off, &len);
    dt_content(w, count * size);
    dt_describe(w, "burst h%d off %llu, %zu pieces of %zu, order %u", slot, (unsigned long long)off,
                count, size, order);
    dt_watch_handle(w, slot);
    for (int side = 0; side < DT_SIDES; side++) {
        for (size_t n = 0; n < count; n++) {
            size_t at = burst_place(order, n, count) * size;
            if (pwrite(w->handles[slot].fd[side], w->content + at, size, (off_t)(off + at)) < 0)
                break;
        }
    }
}

void dt_op_write(struct world *w)
{
    int slot = dt_handle_pick(w);
    if (slot < 0) {
        return;
    }
    uint64_t off;
    size_t len;
    any_range(w, &w->handles[slot], &off, &len);
    bool plain = dt_chance(w, 30) && !w->handles[slot].direct;
    dt_content(w, len);
    dt_describe(w, "%s h%d off %llu len %zu", plain ? "write" : "pwrite", slot,
                (unsigned long long)off, len);
    dt_watch_handle(w, slot);
    BOTH(plain ? write(fd, w->content, len) : pwrite(fd, w->content, len, (off_t)off));
    (void)fine;
}

void dt_op_read(struct world *w)
{
    int slot = dt_handle_pick(w);
    if (slot < 0) {
        return;
    }
    uint64_t off;
    size_t len;
    any_range(w, &w->handles[slot], &off, &len);
    bool plain = dt_chance(w, 30) && !w->handles[slot].direct;
    dt_describe(w, "%s h%d off %llu len %zu", plain ? "read" : "pread", slot,
                (unsigned long long)off, len);
    BOTH(plain ? read(fd, w->buf[side], len) : pread(fd, w->buf[side], len, (off_t)off));
    if (fine && memcmp(w->buf[0], w->buf[1], (size_t)ret[0]) != 0) {
        dt_differ(w, "bytes read differ");
    }
}

void dt_op_vector(struct world *w)
{
    int slot = dt_handle_pick(w);
    if (slot < 0 || w->handles[slot].direct) {
        return;
    }
    uint64_t off;
    size_t len;
    any_range(w, &w->handles[slot], &off, &len);
    dt_content(w, len);
    struct iovec iov[4];
    size_t at = 0;
    for (int i = 0; i < 4; i++) {
        size_t piece = i == 3 ? len - at : dt_below(w, len - at + 1);
        iov[i] = (struct iovec){w->content + at, piece};
        at += piece;
    }
    dt_describe(w, "pwritev h%d off %llu len %zu", slot, (unsigned long long)off, len);
    dt_watch_handle(w, slot);
    BOTH(pwritev(fd, iov, 4, (off_t)off));
    (void)fine;
}

static long map_and_touch(struct world *w, int fd, uint64_t off, size_t len, int share)
{
    uint64_t base = off & ~(uint64_t)4095;
    size_t skip = (size_t)(off - base);
    uint8_t *map = mmap(NULL, skip + len, PROT_READ | PROT_WRITE, share, fd, (off_t)base);
    if (map == MAP_FAILED) {
        return -1;
    }
    memcpy(w->buf[0], map + skip, len); /* what a reader sees first */
    memcpy(map + skip, w->content, len);
    long ret = share == MAP_SHARED ? msync(map, skip + len, MS_SYNC) : 0;
    if (memcmp(map + skip, w->content, len) != 0) {
        errno = EIO;
        ret = -1;
    }
    munmap(map, skip + len);
    return ret;
}

void dt_op_mmap(struct world *w)
{
    int slot = dt_handle_pick(w);
    struct stat st;
    if (slot < 0 || w->handles[slot].dir || fstat(w->handles[slot].fd[1], &st) || st.st_size == 0) {
        return;
    }
    uint64_t off = dt_below(w, (uint64_t)st.st_size);
    size_t len = (size_t)(dt_length(w, (uint64_t)st.st_size) + 1);
    if (len > (uint64_t)st.st_size - off) {
        len = (size_t)((uint64_t)st.st_size - off);
    }
    if (len > DT_IO_MAX) {
        len = DT_IO_MAX;
    }
    int share = dt_chance(w, 60) ? MAP_SHARED : MAP_PRIVATE;
    dt_content(w, len);
    dt_describe(w, "mmap %s h%d off %llu len %zu", share == MAP_SHARED ? "shared" : "private", slot,
                (unsigned long long)off, len);
    bool times = w->times;
    dt_watch_handle(w, slot);
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = DT_SIDES - 1; side >= 0; side--) {
        errno = 0;
        ret[side] = map_and_touch(w, w->handles[slot].fd[side], off, len, share);
        err[side] = errno;
        if (side == 1) {
            memcpy(w->buf[1], w->buf[0], len);
        }
    }
    if (dt_outcome(w, ret, err) && memcmp(w->buf[0], w->buf[1], len) != 0) {
        dt_differ(w, "mapped bytes differ");
    }
    w->times = times;
}

void dt_op_sync(struct world *w)
{
    int slot = dt_handle_pick(w);
    if (slot < 0) {
        return;
    }
    bool data = dt_chance(w, 50);
    dt_describe(w, "%s h%d", data ? "fdatasync" : "fsync", slot);
    BOTH(data ? fdatasync(fd) : fsync(fd));
    (void)fine;
}
