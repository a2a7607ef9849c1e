/* SPDX-License-Identifier: MIT */
/*
 * Names and contents are separate, as POSIX has them: syncing a file makes its bytes durable,
 * syncing a directory the names in it. A rename is durable when either of its directories was
 * synced, and survives whole or not at all.
 */
#include "tests/crash/diskmodel.h"

#include "tests/support/grow.h"
#include "tests/support/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One change waiting for a sync. */
struct change {
    struct crashlog_record r;
    char *path;
    char *path2;
    const uint8_t *data;
    struct node *node; /* what the change is about */
    uint64_t seq;
    bool gone; /* durable by now */
};

struct node {
    uint64_t host; /* inode number on the host, once known */
    bool dir;
    uint8_t *bytes; /* durable content */
    uint64_t len;
    uint64_t room;
};

/* A durable name. */
struct name {
    char *path;
    struct node *node;
};

struct sync {
    uint64_t number;
    uint64_t seq;
    struct node *node; /* a file, or NULL */
    char *path;        /* a directory */
};

struct disk {
    struct name *names; /* durable names */
    size_t name_count;
    struct name *live; /* names as running programs see them */
    size_t live_count;
    struct node **nodes; /* all there ever were */
    size_t node_count;
    struct change *changes;
    size_t change_count;
    struct sync *syncs;
    size_t sync_count;
    uint64_t seq;
    uint64_t random;
    char **lost; /* directories a name change of which was lost at the cut */
    size_t lost_count;
};

static uint64_t chance(struct disk *d, uint64_t n)
{
    return (rig_random_mixed(&d->random) >> 20) % n;
}

static struct name *find(struct name *names, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i].path, path) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

static void set_name(struct name **names, size_t *count, const char *path, struct node *node)
{
    struct name *have = find(*names, *count, path);
    if (!have) {
        *names = rig_grow(*names, *count, sizeof **names);
        have = &(*names)[(*count)++];
        have->path = strdup(path);
    }
    have->node = node;
}

static void drop_name(struct name *names, size_t *count, const char *path)
{
    struct name *have = find(names, *count, path);
    if (have) {
        free(have->path);
        *have = names[--*count];
    }
}

static void set_len(struct node *n, uint64_t len)
{
    if (len > n->room) {
        uint64_t room = len + len / 2 + 4096;
        n->bytes = realloc(n->bytes, room);
        if (!n->bytes) {
            abort();
        }
        n->room = room;
    }
    if (len > n->len) {
        memset(n->bytes + n->len, 0, len - n->len);
    }
    n->len = len;
}

static void put_bytes(struct node *n, uint64_t off, const uint8_t *data, uint64_t len)
{
    if (off + len > n->len) {
        set_len(n, off + len);
    }
    memcpy(n->bytes + off, data, len);
}

/* A directory's own path, "" for the root. */
static void parent_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    snprintf(out, PATH_MAX, "%.*s", slash ? (int)(slash - path) : 0, path);
}

static struct node *new_node(struct disk *d, uint64_t host, bool dir)
{
    struct node *n = calloc(1, sizeof *n);
    if (!n) {
        abort();
    }
    n->host = host;
    n->dir = dir;
    d->nodes = rig_grow(d->nodes, d->node_count, sizeof d->nodes[0]);
    d->nodes[d->node_count++] = n;
    return n;
}

static void load_below(struct disk *d, const char *base, const char *path)
{
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s/%s", base, path);
    DIR *dir = opendir(full);
    if (!dir) {
        fprintf(stderr, "rebuild: %s: %s\n", full, strerror(errno));
        exit(2);
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char child[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        snprintf(child, sizeof child, "%s%s%s", path, path[0] ? "/" : "", e->d_name);
        int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) != 0) {
            continue; /* a socket */
        }
        struct node *n = new_node(d, 0, S_ISDIR(st.st_mode));
        if (S_ISREG(st.st_mode)) {
            set_len(n, (uint64_t)st.st_size);
            if (pread(fd, n->bytes, n->len, 0) != (ssize_t)n->len) {
                exit(2);
            }
        }
        close(fd);
        set_name(&d->names, &d->name_count, child, n);
        set_name(&d->live, &d->live_count, child, n);
        if (n->dir) {
            load_below(d, base, child);
        }
    }
    closedir(dir);
}

struct disk *disk_load(const char *base)
{
    struct disk *d = calloc(1, sizeof *d);
    if (!d) {
        abort();
    }
    load_below(d, base, "");
    return d;
}

static struct node *by_host(const struct disk *d, uint64_t host)
{
    for (size_t i = d->node_count; i > 0; i--) { /* the youngest: numbers are used again */
        if (d->nodes[i - 1]->host == host) {
            return d->nodes[i - 1];
        }
    }
    return NULL;
}

/* Makes one change to durable content or names. */
static void settle(struct disk *d, const struct change *c)
{
    struct node *n = c->node;
    switch (c->r.kind) {
    case CRASHLOG_CREATE:
    case CRASHLOG_MKDIR:
        set_name(&d->names, &d->name_count, c->path, n);
        break;
    case CRASHLOG_RENAME:
        drop_name(d->names, &d->name_count, c->path);
        set_name(&d->names, &d->name_count, c->path2, n);
        break;
    case CRASHLOG_LINK:
        set_name(&d->names, &d->name_count, c->path2, n);
        break;
    case CRASHLOG_UNLINK:
    case CRASHLOG_RMDIR:
        drop_name(d->names, &d->name_count, c->path);
        break;
    case CRASHLOG_WRITE:
        put_bytes(n, c->r.off, c->data, c->r.data_len);
        break;
    case CRASHLOG_TRUNCATE:
        set_len(n, c->r.off);
        break;
    case CRASHLOG_FALLOCATE:
        if (!(c->r.aux & FALLOC_FL_KEEP_SIZE) && c->r.off + c->r.size > n->len) {
            set_len(n, c->r.off + c->r.size);
        }
        if (c->r.aux & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && c->r.off < n->len) {
            uint64_t end = c->r.off + c->r.size < n->len ? c->r.off + c->r.size : n->len;
            memset(n->bytes + c->r.off, 0, end - c->r.off);
        }
        break;
    default:
        break;
    }
}

static bool is_content(const struct change *c)
{
    return c->r.kind == CRASHLOG_WRITE || c->r.kind == CRASHLOG_TRUNCATE ||
           c->r.kind == CRASHLOG_FALLOCATE;
}

static bool in_directory(const struct change *c, const char *dir)
{
    char parent[PATH_MAX];
    parent_of(c->path, parent);
    if (strcmp(parent, dir) == 0) {
        return true;
    }
    if (c->path2[0]) {
        parent_of(c->path2, parent);
        return strcmp(parent, dir) == 0;
    }
    return false;
}

static void finish_sync(struct disk *d, uint64_t number)
{
    struct sync s = {0};
    for (size_t i = 0; i < d->sync_count; i++) {
        if (d->syncs[i].number == number) {
            s = d->syncs[i];
            d->syncs[i] = d->syncs[--d->sync_count];
            break;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < d->change_count; i++) {
        struct change *c = &d->changes[i];
        bool mine = is_content(c) ? s.node && c->node == s.node : s.path && in_directory(c, s.path);
        if (mine && c->seq < s.seq) {
            settle(d, c);
            free(c->path);
            free(c->path2);
        } else {
            d->changes[kept++] = *c;
        }
    }
    d->change_count = kept;
    free(s.path);
}

static void begin_sync(struct disk *d, const struct crashlog_record *r, const char *path)
{
    d->syncs = rig_grow(d->syncs, d->sync_count, sizeof *d->syncs);
    struct sync *s = &d->syncs[d->sync_count++];
    *s = (struct sync){.number = r->aux, .seq = d->seq};
    if (r->node) {
        s->node = by_host(d, r->node);
    } else {
        s->path = strdup(path);
    }
}

/* Names as running programs see them; returns the node the change is about, NULL if it is not ours.
 */
static struct node *live_names(struct disk *d, const struct crashlog_record *r, const char *path,
                               const char *path2)
{
    struct name *have = find(d->live, d->live_count, path);
    struct node *n = have ? have->node : NULL;
    switch (r->kind) {
    case CRASHLOG_CREATE:
    case CRASHLOG_MKDIR:
        n = new_node(d, r->node, r->kind == CRASHLOG_MKDIR);
        set_name(&d->live, &d->live_count, path, n);
        return n;
    case CRASHLOG_RENAME:
    case CRASHLOG_LINK:
        if (n && r->kind == CRASHLOG_RENAME) {
            drop_name(d->live, &d->live_count, path);
        }
        if (n) {
            set_name(&d->live, &d->live_count, path2, n);
        }
        return n;
    case CRASHLOG_UNLINK:
    case CRASHLOG_RMDIR:
        drop_name(d->live, &d->live_count, path);
        return n;
    default:
        return by_host(d, r->node);
    }
}

bool disk_apply(struct disk *d, const struct crashlog_record *r, const char *path,
                const char *path2, const uint8_t *data)
{
    d->seq++;
    if (r->kind == CRASHLOG_SYNC_BEGIN) {
        begin_sync(d, r, path);
        return true;
    }
    if (r->kind == CRASHLOG_SYNC_END) {
        finish_sync(d, r->aux);
        return true;
    }
    if (r->kind >= CRASHLOG_MARK) {
        return r->kind == CRASHLOG_MARK;
    }
    if (r->kind == CRASHLOG_OPEN) {
        struct name *have = find(d->live, d->live_count, path);
        if (have) {
            have->node->host = r->node;
        }
        return true;
    }
    struct node *n = live_names(d, r, path, path2);
    if (!n) {
        return r->kind !=
               CRASHLOG_WRITE; /* names the recorder never saw appear: the log file of RocksDB */
    }
    d->changes = rig_grow(d->changes, d->change_count, sizeof *d->changes);
    d->changes[d->change_count++] = (struct change){.r = *r,
                                                    .path = strdup(path),
                                                    .path2 = strdup(path2),
                                                    .data = data,
                                                    .node = n,
                                                    .seq = d->seq};
    return true;
}

size_t disk_pending(const struct disk *d)
{
    return d->change_count;
}

/* Lets a write survive in part: any sectors of it, and any length that ends with one of them. */
static void tear(struct disk *d, struct change *c, uint64_t unit)
{
    uint64_t end = c->r.off + c->r.data_len;
    uint64_t last = c->r.off;
    uint64_t keep_of = 1 + chance(d, 3);
    for (uint64_t at = c->r.off; at < end;) {
        uint64_t stop = (at / unit + 1) * unit;
        stop = stop < end ? stop : end;
        if (chance(d, keep_of + 1) < keep_of) {
            put_bytes(c->node, at, c->data + (at - c->r.off), stop - at);
            last = stop;
        }
        at = stop;
    }
    if (chance(d, 2) && last < end && end > c->node->len) {
        set_len(c->node, end);
    }
}

/* Journalling filesystems keep the order of name changes within a directory: once one is lost, the
 * later ones are. */
static bool name_survives(struct disk *d, const struct change *c)
{
    char parent[PATH_MAX];
    parent_of(c->path2[0] ? c->path2 : c->path, parent);
    for (size_t i = 0; i < d->lost_count; i++) {
        if (strcmp(d->lost[i], parent) == 0) {
            return false;
        }
    }
    if (chance(d, 4) > 0) {
        return true;
    }
    d->lost = rig_grow(d->lost, d->lost_count, sizeof d->lost[0]);
    d->lost[d->lost_count++] = strdup(parent);
    return false;
}

static void survive(struct disk *d, struct change *c, enum cut_mode mode, bool last_write,
                    bool name_kept)
{
    bool some = chance(d, 2);
    if (mode == CUT_DROP) {
        return;
    }
    if (mode == CUT_KEEP) {
        if (last_write) {
            tear(d, c, 512);
        } else {
            settle(d, c);
        }
    } else if (!is_content(c)) {
        bool kept = mode == CUT_ORDERED ? name_kept
                    : mode == CUT_NAMES ? some
                                        : name_survives(d, c);
        if (kept) {
            settle(d, c);
        }
    } else if (some && c->r.kind == CRASHLOG_WRITE && (mode == CUT_TEAR512 || mode == CUT_TEAR4K)) {
        tear(d, c, mode == CUT_TEAR512 ? 512 : 4096);
    } else if (some) {
        settle(d, c);
    }
}

static void save_file(const char *path, const struct node *n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return; /* its directory did not survive */
    }
    for (uint64_t at = 0; at < n->len;) {
        ssize_t put = write(fd, n->bytes + at, n->len - at);
        if (put <= 0) {
            perror(path);
            exit(2);
        }
        at += (uint64_t)put;
    }
    close(fd);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

void disk_cut(struct disk *d, enum cut_mode mode, uint64_t seed, const char *out)
{
    d->random = seed * 0x9e3779b97f4a7c15u + 88172645463325252u;
    size_t names = d->change_count ? chance(d, d->change_count + 1) : 0;
    for (size_t i = 0; i < d->change_count; i++) {
        bool last = i + 1 == d->change_count && d->changes[i].r.kind == CRASHLOG_WRITE;
        survive(d, &d->changes[i], mode, last, i < names);
    }
    if (mkdir(out, 0700) != 0) {
        perror(out);
        exit(2);
    }
    qsort(d->names, d->name_count, sizeof d->names[0],
          by_path); /* directories before what is in them */
    for (size_t i = 0; i < d->name_count; i++) {
        char full[PATH_MAX];
        snprintf(full, sizeof full, "%s/%s", out, d->names[i].path);
        if (d->names[i].node->dir) {
            (void)!mkdir(full, 0700);
        } else {
            save_file(full, d->names[i].node);
        }
    }
}

static void free_names(struct name *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(names[i].path);
    }
    free(names);
}

void disk_free(struct disk *d)
{
    free_names(d->names, d->name_count);
    free_names(d->live, d->live_count);
    for (size_t i = 0; i < d->node_count; i++) {
        free(d->nodes[i]->bytes);
        free(d->nodes[i]);
    }
    for (size_t i = 0; i < d->change_count; i++) {
        free(d->changes[i].path);
        free(d->changes[i].path2);
    }
    for (size_t i = 0; i < d->sync_count; i++) {
        free(d->syncs[i].path);
    }
    for (size_t i = 0; i < d->lost_count; i++) {
        free(d->lost[i]);
    }
    free(d->nodes);
    free(d->changes);
    free(d->syncs);
    free(d->lost);
    free(d);
}
