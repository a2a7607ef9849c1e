/* SPDX-License-Identifier: MIT */
/*
 * clients run FILE PROGRESS SEED OPS     several clients of one file, each with its own way of
 * access clients check FILE PROGRESS            what is there after the daemon was killed
 *
 * The file is made of records, dealt out to the clients in turn, so that neighbours in a page
 * belong to different ones. Only its client changes a record; whenever it reads one back, by
 * whatever way, it must find what it wrote last. Each record is written in units of 64 bytes that
 * carry its number and a counter. PROGRESS has two counters for each record, mapped: what was
 * begun, and what was made durable. `check` accepts units between the two. A second file, FILE.log,
 * is appended to by all and read by one, who must never see bytes that nobody wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum way { WAY_WRONLY, WAY_RDWR, WAY_MAPPED, WAY_AIO, WAYS };

#define UNIT 64u

/* Records of one size, one behind the other. */
static const struct area {
    uint32_t units, count;
} areas[] = {{1, 4096}, {64, 64}, {1563, 16}}; /* 64 bytes, a page, 100,032 bytes */

#define AREAS       3u
#define RECORDS     (4096u + 64u + 16u)
#define LARGEST     (1563u * UNIT)
#define FILE_BYTES  (4096u * UNIT + 64u * 4096u + 16u * LARGEST)
#define LINE        40u /* bytes of a line of the log; no divisor of a page */
#define LOG_CLIENTS 2u

struct unit {
    uint32_t record, index;
    uint64_t counter;
    uint8_t fill[UNIT - 16];
};

struct progress {
    _Atomic uint64_t begun, durable;
};

struct client {
    pthread_t thread;
    enum way way;
    uint64_t random;
    unsigned ops;
    int fd;
    uint8_t *map;
    aio_context_t aio;
    uint64_t last[RECORDS];
    uint8_t *mine, *seen;
};

static const char *path;
static char log_path[4096];
static struct progress *progress;
static atomic_bool dead; /* the daemon was killed */
static atomic_int wrong;
static atomic_uint appending;
static int direct; /* O_DIRECT, where the filesystem takes it for any range; else 0 */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static void place(uint32_t record, uint64_t *off, uint32_t *units)
{
    *off = 0;
    for (unsigned a = 0;; a++) {
        if (record < areas[a].count) {
            *off += (uint64_t)record * areas[a].units * UNIT;
            *units = areas[a].units;
            return;
        }
        record -= areas[a].count;
        *off += (uint64_t)areas[a].count * areas[a].units * UNIT;
    }
}

static void fill(uint8_t *out, uint32_t record, uint32_t units, uint64_t counter)
{
    for (uint32_t i = 0; i < units; i++) {
        struct unit u = {.record = record, .index = i, .counter = counter};
        memset(u.fill, (int)(counter * 7 + i + record) & 0xff, sizeof u.fill);
        memcpy(out + (size_t)i * UNIT, &u, UNIT);
    }
}

/* After an error: was it the death of the daemon? */
static bool gone(const char *what)
{
    if (errno == ENOTCONN || errno == ECONNABORTED || errno == EIO || errno == ECANCELED) {
        atomic_store(&dead, true);
        return true;
    }
    fprintf(stderr, "clients: %s: %s\n", what, strerror(errno));
    atomic_store(&wrong, 1);
    return true;
}

/* One asynchronous request, waited for. */
static ssize_t aio_write(struct client *c, const void *buf, size_t len, uint64_t off)
{
    struct iocb cb = {.aio_fildes = (uint32_t)c->fd,
                      .aio_lio_opcode = IOCB_CMD_PWRITE,
                      .aio_buf = (uint64_t)(uintptr_t)buf,
                      .aio_nbytes = len,
                      .aio_offset = (int64_t)off};
    struct iocb *list[] = {&cb};
    struct io_event event;
    if (syscall(SYS_io_submit, c->aio, 1L, list) != 1 ||
        syscall(SYS_io_getevents, c->aio, 1L, 1L, &event, NULL) != 1)
        return -1;
    if (event.res < 0) {
        errno = (int)-event.res;
        return -1;
    }
    return (ssize_t)event.res;
}

static bool write_record(struct client *c, uint32_t record)
{
    uint64_t off;
    uint32_t units;
    place(record, &off, &units);
    uint64_t counter = c->last[record] + 1;
    size_t len = (size_t)units * UNIT;
    fill(c->mine, record, units, counter);
    atomic_store(&progress[record].begun, counter);
    errno = EIO;
    if (c->way == WAY_MAPPED) {
        if (atomic_load(&dead))
            return false;
        memcpy(c->map + off, c->mine, len);
    } else {
        ssize_t n = c->way == WAY_AIO ? aio_write(c, c->mine, len, off)
                                      : pwrite(c->fd, c->mine, len, (off_t)off);
        if (n != (ssize_t)len)
            return !gone("write");
    }
    c->last[record] = counter;
    return true;
}

/* Reads the record by a way of the moment; it must be what was written last. */
static bool read_record(struct client *c, uint32_t record)
{
    const int flags[] = {O_RDONLY, O_RDWR, O_RDONLY | direct, O_RDONLY | O_NOATIME};
    uint64_t off;
    uint32_t units;
    place(record, &off, &units);
    size_t len = (size_t)units * UNIT;
    if (c->last[record] == 0)
        return true;
    if (c->way == WAY_MAPPED && next_random(&c->random) % 3 == 0) {
        memcpy(c->seen, c->map + off, len);
    } else {
        int fd = open(path, flags[next_random(&c->random) % 4] | O_CLOEXEC);
        ssize_t n = fd >= 0 ? pread(fd, c->seen, len, (off_t)off) : -1;
        int error = errno;
        if (fd >= 0)
            close(fd);
        errno = n >= 0 ? EIO : error;
        if (n < 0)
            return !gone("read");
    }
    fill(c->mine, record, units, c->last[record]);
    if (memcmp(c->mine, c->seen, len) == 0)
        return true;
    struct unit u;
    for (uint32_t i = 0; i < units; i++) {
        memcpy(&u, c->seen + (size_t)i * UNIT, UNIT);
        if (memcmp(c->mine + (size_t)i * UNIT, &u, UNIT) != 0)
            break;
    }
    if (!atomic_load(&dead)) {
        fprintf(stderr, "clients: way %d, record %u at %llu: written %llu, read %llu (record %u)\n",
                (int)c->way, record, (unsigned long long)off, (unsigned long long)c->last[record],
                (unsigned long long)u.counter, u.record);
        atomic_store(&wrong, 1);
    }
    return false;
}

static bool sync_records(struct client *c)
{
    int rc = c->way == WAY_MAPPED ? msync(c->map, FILE_BYTES, MS_SYNC) : fsync(c->fd);
    if (rc != 0)
        return !gone("sync");
    for (uint32_t i = 0; i < RECORDS; i++)
        if (c->last[i] > 0 && i % WAYS == c->way)
            atomic_store(&progress[i].durable, c->last[i]);
    return true;
}

static bool open_file(struct client *c)
{
    const int flags[WAYS] = {O_WRONLY, O_RDWR, O_RDWR, O_WRONLY | direct};
    c->fd = open(path, flags[c->way] | O_CLOEXEC);
    if (c->fd < 0)
        return !gone("open");
    if (c->way == WAY_MAPPED) {
        c->map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
        if (c->map == MAP_FAILED)
            return !gone("mmap");
    }
    return true;
}

static void close_file(struct client *c)
{
    if (c->way == WAY_MAPPED)
        munmap(c->map, FILE_BYTES);
    close(c->fd);
}

static void *run_client(void *arg)
{
    struct client *c = arg;
    bool on = open_file(c);
    for (unsigned i = 0; on && i < c->ops && !atomic_load(&dead) && !atomic_load(&wrong); i++) {
        uint64_t what = next_random(&c->random) % 100;
        uint32_t record =
            (uint32_t)(next_random(&c->random) % 100 < 80 ? next_random(&c->random) % 256
                                                          : next_random(&c->random) % RECORDS);
        record = record / WAYS * WAYS + c->way;
        if (record >= RECORDS)
            continue;
        if (what < 60) {
            on = write_record(c, record);
        } else if (what < 94) {
            on = read_record(c, record);
        } else if (what < 96) {
            on = sync_records(c);
        } else if (what < 97) { /* the mode of a handle is chosen when it is opened */
            close_file(c);
            on = open_file(c);
        }
    }
    if (!atomic_load(&dead) && !atomic_load(&wrong))
        for (uint32_t i = (uint32_t)c->way; i < RECORDS; i += WAYS)
            (void)read_record(c, i);
    return NULL;
}

/* A line says who wrote it and its number; no byte of it is NUL. */
static void line_of(char out[LINE + 1], unsigned who, uint64_t n)
{
    (void)snprintf(out, LINE + 1, "%u %-36llu\n", who, (unsigned long long)n);
}

static void *run_appender(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    char line[LINE + 1];
    int fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    for (uint64_t n = 0; n < 3000 && fd >= 0 && !atomic_load(&dead) && !atomic_load(&wrong); n++) {
        line_of(line, who, n);
        if (write(fd, line, LINE) != (ssize_t)LINE)
            (void)gone("append");
    }
    if (fd >= 0)
        close(fd);
    atomic_fetch_sub(&appending, 1);
    return NULL;
}

/* Follows the log as far as its size says; all lines are whole, and each writer's in order. */
static void *run_follower(void *arg)
{
    (void)arg;
    uint64_t next[LOG_CLIENTS] = {0};
    off_t at = 0;
    int fd = open(log_path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
    for (bool last = false; fd >= 0 && !atomic_load(&dead) && !atomic_load(&wrong);) {
        struct stat st;
        if (fstat(fd, &st) != 0) {
            (void)gone("fstat");
            break;
        }
        for (; at + (off_t)LINE <= st.st_size; at += LINE) {
            char have[LINE + 1] = {0}, want[LINE + 1];
            if (pread(fd, have, LINE, at) < 0) {
                (void)gone("pread");
                break;
            }
            unsigned who = (unsigned)(have[0] - '0');
            if (who < LOG_CLIENTS)
                line_of(want, who, next[who]++);
            if ((who >= LOG_CLIENTS || memcmp(have, want, LINE) != 0) && !atomic_load(&dead)) {
                fprintf(stderr, "clients: the log at %lld, size %lld: \"%.*s\" (byte %d)\n",
                        (long long)at, (long long)st.st_size, (int)LINE, have, have[0]);
                atomic_store(&wrong, 1);
                break;
            }
        }
        if (last)
            break;
        last = atomic_load(&appending) == 0;
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static bool map_progress(const char *name)
{
    size_t len = RECORDS * sizeof *progress;
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)len) != 0)
        return false;
    progress = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return progress != MAP_FAILED;
}

/* Most filesystems want whole blocks for it; FUSE does not. */
static int find_direct(void)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC ? O_DIRECT : 0;
}

static int run(char **argv)
{
    static struct client clients[WAYS];
    pthread_t appenders[LOG_CLIENTS], follower;
    uint64_t seed = strtoull(argv[2], NULL, 10);
    unsigned ops = (unsigned)strtoul(argv[3], NULL, 10);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, FILE_BYTES) != 0 || fsync(fd) != 0 || close(fd) != 0) {
        perror(path);
        return 1;
    }
    direct = find_direct();
    atomic_store(&appending, LOG_CLIENTS);
    for (unsigned i = 0; i < WAYS; i++) {
        struct client *c = &clients[i];
        c->way = (enum way)i;
        c->random = (seed * WAYS + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        c->ops = ops;
        c->mine = aligned_alloc(4096, (LARGEST + 4095) / 4096 * 4096);
        c->seen = aligned_alloc(4096, (LARGEST + 4095) / 4096 * 4096);
        if (c->mine == NULL || c->seen == NULL || syscall(SYS_io_setup, 4L, &c->aio) != 0) {
            perror("clients");
            return 1;
        }
        for (uint32_t k = 0; k < RECORDS; k++)
            c->last[k] = atomic_load(&progress[k].begun);
    }
    for (unsigned i = 0; i < WAYS; i++)
        pthread_create(&clients[i].thread, NULL, run_client, &clients[i]);
    for (uintptr_t i = 0; i < LOG_CLIENTS; i++)
        pthread_create(&appenders[i], NULL, run_appender, (void *)i);
    pthread_create(&follower, NULL, run_follower, NULL);
    for (unsigned i = 0; i < WAYS; i++)
        pthread_join(clients[i].thread, NULL);
    for (unsigned i = 0; i < LOG_CLIENTS; i++)
        pthread_join(appenders[i], NULL);
    pthread_join(follower, NULL);
    return atomic_load(&wrong);
}

static int check(void)
{
    uint8_t *seen = malloc(LARGEST), *want = malloc(LARGEST);
    int fd = open(path, O_RDONLY | O_CLOEXEC), bad = 0;
    for (uint32_t r = 0; fd >= 0 && r < RECORDS; r++) {
        uint64_t off;
        uint32_t units;
        place(r, &off, &units);
        ssize_t n = pread(fd, seen, (size_t)units * UNIT, (off_t)off);
        for (uint32_t i = 0; i < units; i++) {
            struct unit u = {0};
            if (n >= (ssize_t)(i + 1) * (ssize_t)UNIT)
                memcpy(&u, seen + (size_t)i * UNIT, UNIT);
            fill(want, r, units, u.counter);
            bool whole = u.counter == 0 || memcmp(&u, want + (size_t)i * UNIT, UNIT) == 0;
            if (whole && u.counter >= atomic_load(&progress[r].durable) &&
                u.counter <= atomic_load(&progress[r].begun))
                continue;
            if (bad++ < 10)
                fprintf(stderr, "clients: record %u, unit %u: %llu, durable %llu, begun %llu%s\n",
                        r, i, (unsigned long long)u.counter,
                        (unsigned long long)atomic_load(&progress[r].durable),
                        (unsigned long long)atomic_load(&progress[r].begun), whole ? "" : ", torn");
        }
    }
    free(seen);
    free(want);
    return fd < 0 || bad > 0;
}

int main(int argc, char **argv)
{
    bool runs = argc == 6 && strcmp(argv[1], "run") == 0;
    if (!runs && !(argc == 4 && strcmp(argv[1], "check") == 0)) {
        fprintf(stderr,
                "usage: clients run FILE PROGRESS SEED OPS\n       clients check FILE PROGRESS\n");
        return 2;
    }
    path = argv[2];
    (void)snprintf(log_path, sizeof log_path, "%s.log", path);
    if (!map_progress(argv[3])) {
        perror(argv[3]);
        return 2;
    }
    return runs ? run(argv + 2) : check();
}
