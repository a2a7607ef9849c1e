/* SPDX-License-Identifier: MIT */
/*
 * coherent SHAPE writer|reader FILE OPERATIONS
 *
 * A writer and readers or mappings of one file, each in a process of its own; the second argument
 * says who opens it first. What a call has returned, or what a size covers, must be seen by
 * everybody from then on. Prints what was not, and exits with 1 if anything was. The shapes:
 *
 * | reopen   | a writer through the page cache; readers that open the file anew each time
 * | aio      | 640 KiB writes by AIO with O_DIRECT; buffered readers
 * | aiowrite | smaller ones by AIO through a descriptor opened O_WRONLY
 * | uring    | the same by io_uring
 * | mapped   | an O_WRONLY writer of the first bytes of a page whose other bytes are stored to
 * |          | through a shared mapping all the time
 * | punch    | the same, and the page is punched after each write
 * | copy     | the same, with copy_file_range in place of the write
 * | answer   | an O_WRONLY writer, whose bytes are answered in place through a shared mapping
 * | append   | an O_WRONLY|O_APPEND writer; a reader that polls the size and reads up to it
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/aio_abi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/uring.h"

#define PAGE       4096u
#define READERS    2
#define MOST_PLACE 64u
/* Places of the file that are being written at once. */
#define DEPTH 8u
/* How long a reader waits before it calls what it sees stale for good. */
#define PATIENCE_MS 20000

/* What all processes see. */
struct shared {
    _Atomic uint64_t
        published[MOST_PLACE]; /* what a place holds at least, by calls that returned */
    atomic_uint ready;         /* processes that have opened the file */
    atomic_bool done;          /* the writer has ended */
    _Atomic uint64_t faults;
    _Atomic uint64_t looked; /* checks made by readers */
    _Atomic uint64_t stored; /* by the mapping, last */
};

static struct shared *sh;
static const char *path;
static uint64_t operations;
static size_t place_bytes;
static unsigned places;

static void die(const char *what)
{
    fprintf(stderr, "coherent: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int open_file(int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        die("open");
    return fd;
}

static void *aligned(size_t len)
{
    void *mem = NULL;
    if (posix_memalign(&mem, PAGE, len) != 0)
        die("memory");
    return mem;
}

static void nap_us(long us)
{
    const struct timespec t = {.tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

/* Arrives, and waits until `n` processes have. */
static void arrive(unsigned n)
{
    atomic_fetch_add(&sh->ready, 1);
    while (atomic_load(&sh->ready) < n)
        nap_us(200);
}

/* Lets the one that opens first be there before `me` goes on. */
static void in_order(bool first)
{
    while (!first && atomic_load(&sh->ready) == 0)
        nap_us(200);
}

static void fill(uint64_t *buf, size_t len, uint64_t value)
{
    for (size_t i = 0; i < len / sizeof *buf; i++)
        buf[i] = value;
}

/* Words of buf that are older than `least`. */
static bool older(const uint64_t *buf, size_t len, uint64_t least)
{
    for (size_t i = 0; i < len / sizeof *buf; i++)
        if (buf[i] < least)
            return true;
    return false;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void fault(const char *what, uint64_t a, uint64_t b)
{
    if (atomic_fetch_add(&sh->faults, 1) < 5)
        fprintf(stderr, "coherent: %s (%llu, %llu)\n", what, (unsigned long long)a,
                (unsigned long long)b);
}

/* One look at a random page of a random place. */
static void look(int fd, uint64_t *buf, uint64_t *state)
{
    unsigned place = (unsigned)(next_random(state) % places);
    uint64_t least = atomic_load(&sh->published[place]);
    off_t off = (off_t)(place * place_bytes + next_random(state) % (place_bytes / PAGE) * PAGE);
    ssize_t n = pread(fd, buf, PAGE, off);
    if (n != (ssize_t)PAGE)
        die("pread");
    if (older(buf, PAGE, least))
        fault("stale read: place, published", place, least);
    atomic_fetch_add(&sh->looked, 1);
}

static void read_all(unsigned number, bool reopen, bool first)
{
    uint64_t *buf = aligned(PAGE), state = number + 1;
    in_order(first);
    int fd = open_file(O_RDONLY);
    for (unsigned i = 0; i < places * 4; i++)
        look(fd, buf, &state);
    arrive(READERS + 1);
    while (!atomic_load(&sh->done)) {
        if (!reopen) {
            look(fd, buf, &state);
            continue;
        }
        int other = open_file(O_RDONLY);
        for (unsigned i = 0; i < 4; i++)
            look(other, buf, &state);
        close(other);
    }
    for (unsigned place = 0; place < places; place++)
        for (size_t at = 0; at < place_bytes; at += PAGE) {
            if (pread(fd, buf, PAGE, (off_t)(place * place_bytes + at)) != (ssize_t)PAGE)
                die("pread");
            if (older(buf, PAGE, atomic_load(&sh->published[place])))
                fault("stale for good: place, offset", place, at);
        }
    close(fd);
}

static void write_cached(bool first)
{
    uint64_t *buf = aligned(place_bytes), state = 99;
    in_order(first);
    int fd = open_file(O_RDWR);
    arrive(READERS + 1);
    for (uint64_t v = 2; v < operations + 2; v++) {
        unsigned place = (unsigned)(next_random(&state) % places);
        fill(buf, place_bytes, v);
        if (pwrite(fd, buf, place_bytes, (off_t)(place * place_bytes)) != (ssize_t)place_bytes)
            die("pwrite");
        atomic_store(&sh->published[place], v);
    }
    atomic_store(&sh->done, true);
    close(fd);
}

/* Writes that are on their way: place i of the file is written by slot i % DEPTH. */
struct slot {
    uint64_t *buf;
    unsigned place;
    uint64_t value;
};

static struct slot slots[DEPTH];

static void next_write(struct slot *s, unsigned index, uint64_t value)
{
    s->place = (unsigned)(value / DEPTH) * DEPTH % places + index;
    s->value = value;
    fill(s->buf, place_bytes, value);
}

static void note_written(const struct slot *s, int64_t result)
{
    if (result != (int64_t)place_bytes) {
        errno = (int)-result;
        die("written in the background");
    }
    atomic_store(&sh->published[s->place], s->value);
}

static void submit_aio(aio_context_t ctx, int fd, unsigned index)
{
    struct slot *s = &slots[index];
    struct iocb cb = {.aio_data = index,
                      .aio_lio_opcode = IOCB_CMD_PWRITE,
                      .aio_fildes = (uint32_t)fd,
                      .aio_buf = (uintptr_t)s->buf,
                      .aio_nbytes = place_bytes,
                      .aio_offset = (int64_t)(s->place * place_bytes)};
    struct iocb *list[] = {&cb};
    if (syscall(SYS_io_submit, ctx, 1, list) != 1)
        die("io_submit");
}

static void write_aio(int flags, bool first)
{
    aio_context_t ctx = 0;
    if (syscall(SYS_io_setup, DEPTH, &ctx) != 0)
        die("io_setup");
    in_order(first);
    int fd = open_file(flags);
    arrive(READERS + 1);
    uint64_t v = 2;
    for (unsigned i = 0; i < DEPTH; i++, v++) {
        next_write(&slots[i], i, v);
        submit_aio(ctx, fd, i);
    }
    for (unsigned left = DEPTH; left > 0;) {
        struct io_event event;
        if (syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
            die("io_getevents");
        unsigned i = (unsigned)event.data;
        note_written(&slots[i], event.res);
        if (v >= operations + 2) {
            left--;
            continue;
        }
        next_write(&slots[i], i, v++);
        submit_aio(ctx, fd, i);
    }
    atomic_store(&sh->done, true);
    syscall(SYS_io_destroy, ctx);
    close(fd);
}

static void submit_uring(struct fold_uring *u, int fd, unsigned index)
{
    struct io_uring_sqe *sqe = fold_uring_next(u);
    sqe->opcode = IORING_OP_WRITE;
    sqe->fd = fd;
    sqe->addr = (uintptr_t)slots[index].buf;
    sqe->len = (uint32_t)place_bytes;
    sqe->off = slots[index].place * place_bytes;
    sqe->user_data = index;
}

static void write_uring(bool first)
{
    struct fold_uring *u;
    if (fold_uring_create(DEPTH, &u) != 0 || fold_uring_enable(u) != 0)
        die("io_uring");
    in_order(first);
    int fd = open_file(O_WRONLY);
    arrive(READERS + 1);
    uint64_t v = 2;
    for (unsigned i = 0; i < DEPTH; i++, v++) {
        next_write(&slots[i], i, v);
        submit_uring(u, fd, i);
    }
    for (unsigned left = DEPTH; left > 0;) {
        uint64_t i;
        int result;
        if (fold_uring_submit(u, true) != 0)
            die("io_uring_enter");
        while (fold_uring_take(u, &i, &result)) {
            note_written(&slots[i], result);
            if (v >= operations + 2) {
                left--;
                continue;
            }
            next_write(&slots[i], (unsigned)i, v++);
            submit_uring(u, fd, (unsigned)i);
        }
    }
    atomic_store(&sh->done, true);
    close(fd);
    fold_uring_destroy(u);
}

static _Atomic uint64_t *map_file(int fd)
{
    void *mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mem == MAP_FAILED)
        die("mmap");
    return mem;
}

/* Stores to the second half of the page until the writer has ended; `often`: and syncs it. */
static void store_mapped(bool often, bool first)
{
    in_order(first);
    int fd = open_file(O_RDWR);
    _Atomic uint64_t *words = map_file(fd);
    atomic_store(&words[PAGE / 16], 1);
    arrive(2);
    uint64_t n = 1;
    while (!atomic_load(&sh->done)) {
        unsigned at = PAGE / 16 + (unsigned)(n % 64);
        atomic_store(&words[at], ++n);
        if (often && n % 100 == 0 && msync((void *)(uintptr_t)words, PAGE, MS_SYNC) != 0)
            die("msync");
    }
    if (msync((void *)(uintptr_t)words, PAGE, MS_SYNC) != 0)
        die("msync");
    atomic_store(&sh->stored, n);
}

/* What a writer beside a mapping does. */
enum change { WRITE, PUNCH, COPY };

/* Changes the first word of the page; returns what it must be from then on. */
static uint64_t change_page(enum change how, int fd, int source, uint64_t v)
{
    static uint64_t page[PAGE / sizeof v];
    loff_t from = 0, to = 0;
    if (how == COPY) {
        fill(page, PAGE, v);
        if (pwrite(source, page, PAGE, 0) != (ssize_t)PAGE)
            die("pwrite");
        if (copy_file_range(source, &from, fd, &to, PAGE, 0) != (ssize_t)PAGE)
            die("copy_file_range");
        return v;
    }
    if (pwrite(fd, &v, sizeof v, 0) != (ssize_t)sizeof v)
        die("pwrite");
    if (how == WRITE)
        return v;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) != 0)
        die("fallocate");
    return 0;
}

static void write_beside_mapping(enum change how, bool first)
{
    char name[PATH_MAX];
    in_order(first);
    int fd = open_file(O_WRONLY);
    arrive(2);
    int reader = open_file(O_RDWR);
    void *mem = map_file(reader);
    snprintf(name, sizeof name, "%s.source", path);
    int source = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (source < 0)
        die("open");
    unlink(name);
    for (uint64_t v = 2; v < operations + 2; v++) {
        uint64_t back = 0, expected = change_page(how, fd, source, v);
        if (v % 8 == 0 && (msync(mem, PAGE, MS_SYNC) != 0 || fsync(fd) != 0))
            die("msync");
        if (pread(reader, &back, sizeof back, 0) != (ssize_t)sizeof back)
            die("pread");
        if (back != expected)
            fault("lost write: written, read", v, back);
        if (*(volatile uint64_t *)mem != expected)
            fault("lost write: written, mapped", v, *(volatile uint64_t *)mem);
        atomic_fetch_add(&sh->looked, 1);
    }
    atomic_store(&sh->done, true);
}

/* What the mapping stored last has arrived. */
static void check_stored(void)
{
    uint64_t n = atomic_load(&sh->stored), word;
    int fd = open_file(O_RDONLY);
    for (uint64_t v = n; v > n - 64 && v > 1; v--) {
        if (pread(fd, &word, sizeof word, (off_t)(PAGE / 2 + (v - 1) % 64 * sizeof word)) !=
            (ssize_t)sizeof word)
            die("pread");
        if (word != v)
            fault("lost store: stored, read", v, word);
    }
    close(fd);
}

/* Answers each value in the first word of the file with its complement, in the same place. */
static void answer_mapped(bool first)
{
    in_order(first);
    int fd = open_file(O_RDWR);
    _Atomic uint64_t *words = map_file(fd);
    arrive(2);
    for (uint64_t v = 2; v < operations + 2; v++) {
        while (atomic_load(&words[0]) != v && !atomic_load(&sh->done))
            ;
        atomic_store(&words[0], ~v);
    }
}

static void ask(bool first)
{
    in_order(first);
    int fd = open_file(O_WRONLY);
    arrive(2);
    int reader = open_file(O_RDWR);
    _Atomic uint64_t *words = map_file(reader);
    for (uint64_t v = 2; v < operations + 2 && atomic_load(&sh->faults) == 0; v++) {
        if (pwrite(fd, &v, sizeof v, 0) != (ssize_t)sizeof v)
            die("pwrite");
        unsigned ms = 0;
        while (atomic_load(&words[0]) != ~v && ms++ < PATIENCE_MS)
            nap_us(ms < 100 ? 10 : 1000);
        if (ms > PATIENCE_MS)
            fault("an answer was lost: asked, found", v, atomic_load(&words[0]));
        atomic_fetch_add(&sh->looked, 1);
    }
    atomic_store(&sh->done, true);
}

static void append(bool first)
{
    static char record[8192];
    uint64_t state = 7;
    in_order(first);
    int fd = open_file(O_WRONLY | O_APPEND);
    arrive(2);
    for (uint64_t v = 0; v < operations; v++) {
        size_t len = 1 + next_random(&state) % (v % 16 == 0 ? sizeof record : 100);
        memset(record, (int)('a' + v % 26), len);
        if (write(fd, record, len) != (ssize_t)len)
            die("append");
    }
    atomic_store(&sh->done, true);
    close(fd);
}

static void poll_size(bool first)
{
    static char buf[1 << 20];
    in_order(first);
    int fd = open_file(O_RDONLY);
    struct stat st;
    if (fstat(fd, &st) != 0)
        die("fstat");
    off_t at = st.st_size;
    /* The last page is in the cache, as far as it goes. */
    if (at > 0 && pread(fd, buf, (size_t)at, 0) != at)
        die("pread");
    arrive(2);
    for (bool done = false; !done;) {
        done = atomic_load(&sh->done);
        if (fstat(fd, &st) != 0)
            die("fstat");
        /* The last page as far as the size went, again and again, and what has come since. */
        off_t from = at - at % PAGE;
        size_t len = (size_t)(st.st_size - from);
        if (len > sizeof buf)
            len = sizeof buf;
        ssize_t n = pread(fd, buf, len, from);
        if (n < 0 || (size_t)n < len)
            fault("less than the size says: asked, read", len, (uint64_t)n);
        for (ssize_t i = 0; i < n; i++)
            if (buf[i] == 0) {
                fault("a zero byte: offset, size", (uint64_t)(from + i), (uint64_t)st.st_size);
                break;
            }
        at = from + (n > 0 ? n : 0);
        done = done && at >= st.st_size;
        atomic_fetch_add(&sh->looked, 1);
    }
    close(fd);
}

struct shape {
    const char *name;
    unsigned places;
    size_t place_bytes;
};

static const struct shape shapes[] = {
    {"reopen", 4, 4 * PAGE}, {"aio", 16, 160 * PAGE}, {"aiowrite", 64, 2 * PAGE},
    {"uring", 64, 2 * PAGE}, {"mapped", 1, PAGE},     {"answer", 1, PAGE},
    {"append", 1, 96},       {"punch", 1, PAGE},      {"copy", 1, PAGE},
};

static void act(const char *shape, bool writer, unsigned number, bool first)
{
    if (strcmp(shape, "mapped") == 0)
        writer ? write_beside_mapping(WRITE, first) : store_mapped(false, first);
    else if (strcmp(shape, "punch") == 0)
        writer ? write_beside_mapping(PUNCH, first) : store_mapped(true, first);
    else if (strcmp(shape, "copy") == 0)
        writer ? write_beside_mapping(COPY, first) : store_mapped(true, first);
    else if (strcmp(shape, "answer") == 0)
        writer ? ask(first) : answer_mapped(first);
    else if (strcmp(shape, "append") == 0)
        writer ? append(first) : poll_size(first);
    else if (!writer)
        read_all(number, strcmp(shape, "reopen") == 0, first);
    else if (strcmp(shape, "reopen") == 0)
        write_cached(first);
    else if (strcmp(shape, "uring") == 0)
        write_uring(first);
    else
        write_aio(strcmp(shape, "aio") == 0 ? O_RDWR | O_DIRECT : O_WRONLY, first);
}

static void make_file(void)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    uint64_t *buf = aligned(place_bytes);
    if (fd < 0)
        die("create");
    fill(buf, place_bytes, 0x0101010101010101u);
    if (places > 1)
        fill(buf, place_bytes, 1);
    for (unsigned i = 0; i < places; i++) {
        if (pwrite(fd, buf, place_bytes, (off_t)(i * place_bytes)) != (ssize_t)place_bytes)
            die("pwrite");
        atomic_store(&sh->published[i], 1);
    }
    close(fd);
    free(buf);
}

int main(int argc, char **argv)
{
    const struct shape *shape = NULL;
    for (size_t i = 0; argc == 5 && i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(argv[1], shapes[i].name) == 0)
            shape = &shapes[i];
    if (shape == NULL) {
        fputs("usage: coherent SHAPE writer|reader FILE OPERATIONS\n", stderr);
        return 2;
    }
    bool writer_first = strcmp(argv[2], "writer") == 0;
    path = argv[3];
    operations = strtoull(argv[4], NULL, 10);
    place_bytes = shape->place_bytes;
    places = shape->places;
    sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sh == MAP_FAILED)
        die("memory");
    for (unsigned i = 0; i < DEPTH; i++)
        slots[i].buf = aligned(place_bytes);
    make_file();
    unsigned others = shape->places > 1 ? READERS : 1;
    for (unsigned i = 0; i <= others; i++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid > 0)
            continue;
        act(shape->name, i == 0, i, (i == 0) == writer_first);
        _exit(0);
    }
    int worst = 0;
    for (unsigned i = 0; i <= others; i++) {
        int status;
        if (wait(&status) < 0)
            die("wait");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            worst = 2;
            atomic_store(&sh->done, true);
        }
    }
    if (strcmp(shape->name, "mapped") == 0)
        check_stored();
    unsigned long long faults = atomic_load(&sh->faults);
    printf("%s %s first: %llu checks, %llu faults\n", shape->name, argv[2],
           (unsigned long long)atomic_load(&sh->looked), faults);
    return worst != 0 ? worst : faults > 0;
}
