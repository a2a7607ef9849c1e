/* SPDX-License-Identifier: MIT */
/*
 * hammer append|coherence|readdir|stress DIR [ROUNDS]
 *
 * Several processes against each other on one file or directory:
 *   append     four processes append records of odd sizes with O_APPEND;
 *              afterwards every record is there once, whole, and in the order its writer made it
 *   coherence  a writer changes blocks through every kind of handle; after each change readers
 * (read, mapping, direct) must see it at once, through handles that were open and warm before
 *   readdir    a process creates and removes names while others list; stable names appear exactly
 * once in each listing, and listing can resume at any remembered position stress     six processes
 * do everything to the same few names at once; only errors that tell of trouble count
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITERS 4
#define BLOCK   4096u
#define BLOCKS  64u
#define STABLE  500

static void die(const char *what, long long a, long long b)
{
    fprintf(stderr, "hammer: %s (%lld, %lld): %s\n", what, a, b, strerror(errno));
    exit(1);
}

struct record {
    uint32_t magic;
    uint32_t writer;
    uint32_t number;
    uint32_t len; /* of the whole record */
};

static uint32_t record_length(uint32_t writer, uint32_t number)
{
    return 24 + (writer * 7919 + number * 104729) % (number % 50 == 0 ? 200000 : 3000);
}

static void append_writer(const char *path, uint32_t writer, uint32_t rounds)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    static uint8_t buf[256 * 1024];
    if (fd < 0) {
        die("open", 0, 0);
    }
    for (uint32_t i = 0; i < rounds; i++) {
        struct record r = {0x464f4c44, writer, i, record_length(writer, i)};
        memset(buf, (int)('a' + (writer + i) % 26), r.len);
        memcpy(buf, &r, sizeof r);
        ssize_t n = write(fd, buf, r.len);
        if (n != (ssize_t)r.len) {
            die("short append", n, r.len);
        }
    }
    if (close(fd) != 0) {
        die("close", 0, 0);
    }
}

static void append_check(const char *path, uint32_t rounds)
{
    uint32_t next[WRITERS] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        die("open", 0, 0);
    }
    const uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        die("mmap", 0, 0);
    }
    for (size_t at = 0; at < (size_t)st.st_size;) {
        struct record r;
        if ((size_t)st.st_size - at < sizeof r) {
            die("torn record at the end", (long long)at, 0);
        }
        memcpy(&r, map + at, sizeof r);
        if (r.magic != 0x464f4c44 || r.writer >= WRITERS || r.number != next[r.writer] ||
            r.len != record_length(r.writer, r.number) || r.len > (size_t)st.st_size - at) {
            die("record overwritten, lost or out of order at", (long long)at, r.number);
        }
        for (uint32_t i = sizeof r; i < r.len; i++) {
            if (map[at + i] != 'a' + (r.writer + r.number) % 26) {
                die("byte overwritten at", (long long)(at + i), map[at + i]);
            }
        }
        next[r.writer]++;
        at += r.len;
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        if (next[i] != rounds) {
            die("records missing", next[i], rounds);
        }
    }
    close(fd);
}

static void wait_all(const pid_t *pids, int n)
{
    bool bad = false;
    for (int i = 0; i < n; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) < 0 || status != 0) {
            bad = true;
        }
    }
    if (bad) {
        die("a process failed", 0, 0);
    }
}

static void run_append(const char *dir, uint32_t rounds)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/appended", dir);
    pid_t pids[WRITERS];
    for (uint32_t i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            append_writer(path, i, rounds);
            _exit(0);
        }
    }
    wait_all(pids, WRITERS);
    append_check(path, rounds);
}

/* Handles of one kind each, all open for the whole test. */
enum { CACHED, WRITE_ONLY, DIRECT, SYNCED, MAPPED, KINDS };

struct view {
    int fd[KINDS];
    uint8_t *map;
    uint8_t *buf;
};

static void view_open(struct view *v, const char *path)
{
    static const int flags[KINDS] = {O_RDWR, O_WRONLY, O_RDWR | O_DIRECT, O_RDWR | O_SYNC, O_RDWR};
    for (int i = 0; i < KINDS; i++) {
        v->fd[i] = open(path, flags[i] | O_CLOEXEC);
        if (v->fd[i] < 0) {
            die("open", i, 0);
        }
    }
    v->map = mmap(NULL, BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd[MAPPED], 0);
    v->buf = aligned_alloc(BLOCK, BLOCK);
    if (v->map == MAP_FAILED || !v->buf) {
        die("mmap", 0, 0);
    }
}

static void block_fill(uint8_t *block, uint64_t version)
{
    for (size_t i = 0; i < BLOCK; i += 8) {
        uint64_t v = version * 0x9e3779b97f4a7c15u + i;
        memcpy(block + i, &v, 8);
    }
}

static void coherence_write(struct view *v, int kind, unsigned block, uint64_t version)
{
    if (kind == MAPPED) {
        block_fill(v->map + (size_t)block * BLOCK, version);
        if (msync(v->map + (size_t)block * BLOCK, BLOCK, MS_SYNC) != 0) {
            die("msync", 0, 0);
        }
        return;
    }
    block_fill(v->buf, version);
    ssize_t n = pwrite(v->fd[kind], v->buf, BLOCK, (off_t)block * BLOCK);
    if (n != BLOCK) {
        die("pwrite", kind, n);
    }
}

static void coherence_read(struct view *v, unsigned block, uint64_t version, int wrote)
{
    static const int kinds[] = {CACHED, DIRECT, SYNCED, MAPPED};
    uint8_t want[BLOCK];
    block_fill(want, version);
    for (int i = 0; i < 4; i++) {
        const uint8_t *got = v->buf;
        if (kinds[i] == MAPPED) {
            got = v->map + (size_t)block * BLOCK;
        } else if (pread(v->fd[kinds[i]], v->buf, BLOCK, (off_t)block * BLOCK) != BLOCK) {
            die("pread", kinds[i], block);
        }
        if (memcmp(got, want, BLOCK) != 0) {
            fprintf(stderr, "hammer: written through handle %d, read through %d\n", wrote,
                    kinds[i]);
            die("stale or wrong block", block, (long long)version);
        }
    }
}

/* Reads commands {block, version, kind}, answers one byte each. */
static void coherence_reader(const char *path, int in, int out)
{
    struct view v;
    uint64_t cmd[3];
    view_open(&v, path);
    while (read(in, cmd, sizeof cmd) == sizeof cmd) {
        coherence_read(&v, (unsigned)cmd[0], cmd[1], (int)cmd[2]);
        if (write(out, "k", 1) != 1) {
            die("pipe", 0, 0);
        }
    }
    _exit(0);
}

static void run_coherence(const char *dir, uint32_t rounds)
{
    char path[PATH_MAX];
    int ask[2];
    int answer[2];
    snprintf(path, sizeof path, "%s/coherent", dir);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, BLOCK * BLOCKS) != 0 || pipe(ask) != 0 || pipe(answer) != 0) {
        die("setting up", 0, 0);
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ask[1]);
        close(answer[0]);
        coherence_reader(path, ask[0], answer[1]);
    }
    close(ask[0]);
    close(answer[1]);
    struct view v;
    view_open(&v, path);
    srandom(7);
    for (uint64_t version = 1; version <= rounds; version++) {
        int kind = (int)(random() % KINDS);
        uint64_t cmd[3] = {(uint64_t)random() % BLOCKS, version, (uint64_t)kind};
        char byte;
        coherence_write(&v, kind, (unsigned)cmd[0], version);
        if (write(ask[1], cmd, sizeof cmd) != sizeof cmd || read(answer[0], &byte, 1) != 1) {
            die("the reader is gone", (long long)version, kind);
        }
        coherence_read(&v, (unsigned)cmd[0], version, kind);
    }
    close(ask[1]);
    wait_all(&pid, 1);
    free(v.buf);
    close(fd);
}

static void churn(const char *dir)
{
    for (unsigned i = 0;; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/moving-%u", dir, i % 300);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0) {
            die("create", i, 0);
        }
        close(fd);
        snprintf(path, sizeof path, "%s/moving-%u", dir, (i + 150) % 300);
        unlink(path);
    }
}

static void list_once(const char *path, bool seek, uint32_t round)
{
    DIR *dir = opendir(path);
    unsigned char seen[STABLE] = {0};
    if (!dir) {
        die("opendir", 0, 0);
    }
    struct dirent *e;
    while ((e = readdir(dir)) != NULL) {
        if (strncmp(e->d_name, "stable-", 7) == 0) {
            unsigned n = (unsigned)strtoul(e->d_name + 7, NULL, 10);
            if (n >= STABLE || seen[n]++) {
                die("listed twice: stable", n, round);
            }
        }
        if (seek && random() % 64 == 0) {
            seekdir(
                dir,
                telldir(dir)); /* drops the buffer of the C library: the kernel is asked again */
        }
    }
    for (unsigned n = 0; n < STABLE; n++) {
        if (!seen[n]) {
            die("not listed: stable", n, round);
        }
    }
    closedir(dir);
}

static void run_readdir(const char *dir, uint32_t rounds)
{
    char path[PATH_MAX - 32];
    snprintf(path, sizeof path, "%s/listed", dir);
    if (mkdir(path, 0755) != 0) {
        die("mkdir", 0, 0);
    }
    for (unsigned i = 0; i < STABLE; i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s/stable-%u", path, i);
        int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0) {
            die("create", i, 0);
        }
        close(fd);
    }
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            churn(path);
        }
    }
    for (uint32_t round = 0; round < rounds; round++) {
        list_once(path, round % 2, round);
    }
    for (int i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

#define STRESSERS 6

/* Errors that racing processes may cause each other; any other is a fault. */
static void tolerate(long ret, const char *what)
{
    static const int fine[] = {ENOENT,  EEXIST, ENOTEMPTY, ENOTDIR, EISDIR, EINVAL, ELOOP,
                               ENODATA, EPERM,  ENXIO,     EMLINK,  ESTALE, ETXTBSY};
    if (ret >= 0) {
        return;
    }
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        if (errno == fine[i]) {
            return;
        }
    }
    die(what, ret, errno);
}

static void stress_file(const char *path, uint8_t *buf, size_t room)
{
    static const int flags[] = {O_RDWR,   O_WRONLY,         O_RDWR | O_TRUNC, O_WRONLY | O_APPEND,
                                O_RDONLY, O_RDWR | O_DIRECT};
    int fd = open(path, flags[random() % 6] | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0644);
    tolerate(fd, "open");
    if (fd < 0) {
        return;
    }
    for (long i = random() % 6; i > 0; i--) {
        off_t off = (random() % 256) * (off_t)BLOCK;
        size_t len = (size_t)(1 + random() % 16) * BLOCK;
        len = len < room ? len : room;
        bool odd = random() % 4 == 0;
        memset(buf, (int)random(), len);
        switch (random() % 7) {
        case 0:
        case 1:
            if (pwrite(fd, buf, odd ? len - 7 : len, odd ? off + 5 : off) < 0 && errno != EBADF) {
                tolerate(-1, "pwrite");
            }
            break;
        case 2:
            if (pread(fd, buf, len, off) < 0 && errno != EBADF) {
                tolerate(-1, "pread");
            }
            break;
        case 3:
            tolerate(ftruncate(fd, off), "ftruncate");
            break;
        case 4:
            if (fallocate(fd, random() % 2 ? 0 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
                          (off_t)len) < 0 &&
                errno != EBADF) {
                tolerate(-1, "fallocate");
            }
            break;
        case 5:
            tolerate(fsync(fd), "fsync");
            break;
        default:
            tolerate(fchmod(fd, 0600 | (mode_t)(random() % 0200)), "fchmod");
            break;
        }
    }
    tolerate(close(fd), "close");
}

static void stress_list(const char *path)
{
    DIR *dir = opendir(path);
    tolerate(dir ? 0 : -1, "opendir");
    if (dir) {
        while (readdir(dir) != NULL) {
        }
        closedir(dir);
    }
}

static void stresser(const char *dir, unsigned seed, uint32_t rounds)
{
    srandom(seed);
    uint8_t *buf = aligned_alloc(BLOCK, 16 * BLOCK);
    if (!buf) {
        die("memory", 0, 0);
    }
    for (uint32_t i = 0; i < rounds; i++) {
        char a[PATH_MAX];
        char b[PATH_MAX];
        snprintf(a, sizeof a, "%s/d%ld/n%ld", dir, random() % 3, random() % 12);
        snprintf(b, sizeof b, "%s/d%ld/n%ld%s", dir, random() % 3, random() % 12,
                 random() % 8 ? "" : "/x");
        struct stat st;
        switch (random() % 14) {
        case 0:
            tolerate(mkdir(a, 0755), "mkdir");
            break;
        case 1:
            tolerate(rmdir(a), "rmdir");
            break;
        case 2:
            tolerate(unlink(a), "unlink");
            break;
        case 3:
            tolerate(rename(a, b), "rename");
            break;
        case 4:
            tolerate(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), "exchange");
            break;
        case 5:
            tolerate(link(a, b), "link");
            break;
        case 6:
            tolerate(symlink("n1", a), "symlink");
            break;
        case 7:
            tolerate(lstat(a, &st), "lstat");
            break;
        case 8:
            tolerate(truncate(a, random() % 2000000), "truncate");
            break;
        case 9:
            snprintf(a, sizeof a, "%s/d%ld", dir, random() % 3);
            stress_list(a);
            break;
        default:
            stress_file(a, buf, 16 * BLOCK);
            break;
        }
    }
    free(buf);
}

static void run_stress(const char *dir, uint32_t rounds)
{
    char path[PATH_MAX];
    pid_t pids[STRESSERS];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/d%d", dir, i);
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            die("mkdir", i, 0);
        }
    }
    for (unsigned i = 0; i < STRESSERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            stresser(dir, (unsigned)getpid(), rounds);
            _exit(0);
        }
    }
    wait_all(pids, STRESSERS);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: hammer append|coherence|readdir|stress DIR [ROUNDS]\n");
        return 2;
    }
    uint32_t rounds = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 300;
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[1], "append") == 0) {
        run_append(argv[2], rounds);
    } else if (strcmp(argv[1], "coherence") == 0) {
        run_coherence(argv[2], rounds);
    } else if (strcmp(argv[1], "readdir") == 0) {
        run_readdir(argv[2], rounds);
    } else if (strcmp(argv[1], "stress") == 0) {
        run_stress(argv[2], rounds);
    } else {
        return 2;
    }
    return 0;
}
