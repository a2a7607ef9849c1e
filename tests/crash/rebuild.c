/* SPDX-License-Identifier: MIT */
/*
 * rebuild info LOG                         how many records, and which are cut points
 * rebuild list LOG                         the records
 * rebuild make LOG BASE CUT MODE SEED OUT  the store as a power cut after CUT records could leave
 * it, in OUT
 *
 * `make` prints for each worker: its number, operations begun and acknowledged, those acknowledged
 * at least 8 s before the cut, and those known to be durable. BASE is a copy of the store as it was
 * when recording began.
 */
#include "tests/crash/diskmodel.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 16
#define LATE_NS 8000000000u
#define MARKS   65536

struct progress {
    uint64_t begun;
    uint64_t acked;
    uint64_t durable;
    uint64_t ack_time[MARKS];
};

static struct progress workers[WORKERS];

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    struct crashlog_record r;
    char path[PATH_MAX];
    char path2[PATH_MAX];
    const uint8_t *data;
};

static bool step(struct cursor *c)
{
    if ((size_t)(c->end - c->at) < sizeof c->r) {
        return false;
    }
    memcpy(&c->r, c->at, sizeof c->r);
    uint64_t total = sizeof c->r + c->r.path_len + c->r.path2_len + c->r.data_len;
    if (c->r.magic != CRASHLOG_MAGIC || (uint64_t)(c->end - c->at) < total) {
        fprintf(stderr, "rebuild: the log is damaged\n");
        exit(2);
    }
    const char *text = (const char *)c->at + sizeof c->r;
    snprintf(c->path, PATH_MAX, "%.*s", (int)c->r.path_len, text);
    snprintf(c->path2, PATH_MAX, "%.*s", (int)c->r.path2_len, text + c->r.path_len);
    c->data = c->at + sizeof c->r + c->r.path_len + c->r.path2_len;
    c->at += total;
    return true;
}

static void open_log(struct cursor *c, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(path);
        exit(2);
    }
    c->at = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
    c->end = c->at + st.st_size;
    close(fd);
}

static int info(const char *log)
{
    struct cursor c;
    open_log(&c, log);
    uint64_t n = 0;
    uint64_t syncs = 0;
    uint64_t writes = 0;
    uint64_t marks = 0;
    uint64_t unknown = 0;
    while (step(&c)) {
        n++;
        syncs += c.r.kind == CRASHLOG_SYNC_END;
        writes += c.r.kind == CRASHLOG_WRITE;
        marks += c.r.kind == CRASHLOG_MARK;
        unknown += c.r.kind == CRASHLOG_UNKNOWN;
    }
    printf("records %llu writes %llu syncs %llu marks %llu unknown %llu\n", (unsigned long long)n,
           (unsigned long long)writes, (unsigned long long)syncs, (unsigned long long)marks,
           (unsigned long long)unknown);
    return unknown ? 1 : 0;
}

static int list(const char *log)
{
    static const char *const kinds[] = {
        "",      "create",   "open",      "mkdir",       "rename",    "unlink", "rmdir",  "link",
        "write", "truncate", "fallocate", "sync begins", "sync ends", "mark",   "unknown"};
    struct cursor c;
    open_log(&c, log);
    for (uint64_t i = 1; step(&c); i++) {
        printf("%llu %s %s %s node %llu off %llu size %llu aux %llu\n", (unsigned long long)i,
               kinds[c.r.kind <= CRASHLOG_UNKNOWN ? c.r.kind : 0], c.path, c.path2,
               (unsigned long long)c.r.node, (unsigned long long)c.r.off,
               (unsigned long long)c.r.size, (unsigned long long)c.r.aux);
    }
    return 0;
}

static void note_mark(const struct crashlog_record *r)
{
    if (r->aux == 2) {
        for (unsigned i = 0; i < WORKERS; i++) {
            workers[i].durable = workers[i].acked;
        }
        return;
    }
    struct progress *p = &workers[r->node % WORKERS];
    if (r->aux == 0) {
        p->begun = r->off + 1;
    } else {
        p->acked = r->off + 1;
        p->ack_time[r->off % MARKS] = r->time_ns;
    }
}

static uint64_t settled(const struct progress *p, uint64_t now)
{
    uint64_t n = p->acked;
    while (n > 0 && p->ack_time[(n - 1) % MARKS] + LATE_NS > now) {
        n--;
    }
    return n;
}

/* Takes in the first `cut` records; `now`: the time of the last one. */
static bool replay(struct disk *d, struct cursor *c, uint64_t cut, bool lying, uint64_t *now)
{
    for (uint64_t i = 0; i < cut && step(c); i++) {
        *now = c->r.time_ns;
        if (c->r.kind == CRASHLOG_MARK) {
            note_mark(&c->r);
        } else if (lying && c->r.kind == CRASHLOG_SYNC_END) {
            continue;
        } else if (!disk_apply(d, &c->r, c->path, c->path2, c->data)) {
            fprintf(stderr, "rebuild: record %llu cannot be replayed: kind %u %s\n",
                    (unsigned long long)i, c->r.kind, c->path);
            return false;
        }
    }
    return true;
}

static int make(char **argv)
{
    struct cursor c;
    uint64_t now = 0;
    unsigned long mode = strtoul(argv[3], NULL, 10);
    bool lying = mode == CUT_MODES; /* a disk whose syncs do nothing: the tests must notice */
    open_log(&c, argv[0]);
    struct disk *d = disk_load(argv[1]);
    if (!replay(d, &c, strtoull(argv[2], NULL, 10), lying, &now)) {
        disk_free(d);
        return 2;
    }
    size_t pending = disk_pending(d);
    disk_cut(d, lying ? CUT_SOME : (enum cut_mode)(mode % CUT_MODES), strtoull(argv[4], NULL, 10),
             argv[5]);
    disk_free(d);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (workers[i].begun) {
            printf("%u %llu %llu %llu %llu\n", i, (unsigned long long)workers[i].begun,
                   (unsigned long long)workers[i].acked,
                   (unsigned long long)settled(&workers[i], now),
                   (unsigned long long)workers[i].durable);
        }
    }
    printf("pending %zu\n", pending);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "info") == 0) {
        return info(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "list") == 0) {
        return list(argv[2]);
    }
    if (argc == 8 && strcmp(argv[1], "make") == 0) {
        return make(argv + 2);
    }
    fprintf(
        stderr,
        "usage: rebuild info LOG | rebuild list LOG | rebuild make LOG BASE CUT MODE SEED OUT\n");
    return 2;
}
