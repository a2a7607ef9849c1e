/* SPDX-License-Identifier: MIT */
/*
 * Is what we find one of the states that may be there? Some prefix of the name operations, not
 * older than the floor, must explain every name; and every file must show one of the contents its
 * object may have.
 *
 * A file may mix bytes of its versions from `must` on (writes reach the disk in any order), and
 * zeros where one of them ends, but never other bytes. A finished rewrite (O_TRUNC, writes, close)
 * counts only whole: old or new.
 */
#include "tests/crash/crashwork.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct found {
    bool there;
    bool bad; /* could not be read */
    uint8_t *data;
    uint64_t size;
    unsigned nlink;
    uint64_t ino;
};

static void load(struct found *f, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        f->bad = errno != ENOENT;
        if (f->bad) {
            fprintf(stderr, "check: %s: %s\n", path, strerror(errno));
        }
        return;
    }
    f->there = true;
    f->bad = fstat(fd, &st) != 0 || st.st_size > CW_SIZE;
    f->size = (uint64_t)st.st_size;
    f->nlink = (unsigned)st.st_nlink;
    f->ino = st.st_ino;
    f->data = malloc(CW_SIZE + 1);
    uint64_t at = 0;
    while (!f->bad) {
        ssize_t n = read(fd, f->data + at, CW_SIZE + 1 - at);
        if (n < 0) {
            fprintf(stderr, "check: %s: reading at %llu: %s\n", path, (unsigned long long)at,
                    strerror(errno));
            f->bad = true;
        }
        if (n <= 0) {
            break;
        }
        at += (uint64_t)n;
    }
    if (!f->bad && at != f->size) {
        fprintf(stderr, "check: %s: %llu bytes read of %llu\n", path, (unsigned long long)at,
                (unsigned long long)f->size);
        f->bad = true;
    }
    close(fd);
}

/* Can the content be a mix of versions [from, to]? If not, *where is the first byte that cannot be.
 */
static bool mix(const struct cw_object *o, unsigned from, unsigned to, const struct found *f,
                uint64_t *where)
{
    uint64_t low = UINT64_MAX;
    uint64_t high = 0;
    for (unsigned v = from; v <= to; v++) {
        low = o->versions[v].size < low ? o->versions[v].size : low;
        high = o->versions[v].size > high ? o->versions[v].size : high;
    }
    *where = f->size;
    if (f->size < low || f->size > high) {
        return false;
    }
    for (uint64_t i = 0; i < f->size; i++) {
        bool good = false;
        for (unsigned v = from; v <= to && !good; v++) {
            uint8_t want = i < o->versions[v].size ? o->versions[v].data[i] : 0;
            good = f->data[i] == want;
        }
        if (!good) {
            *where = i;
            return false;
        }
    }
    return true;
}

/* Is a version one that may be seen at all? The inner ones of a finished rewrite may not. */
static bool inner(const struct cw_model *m, const struct cw_object *o, unsigned v)
{
    unsigned group = m->timer ? 0 : o->versions[v].group;
    return group && !m->groups_open[group % CW_OBJECTS] && v + 1 < o->count &&
           o->versions[v + 1].group == group;
}

static bool content_allowed(const struct cw_model *m, const struct cw_object *o, unsigned must,
                            const struct found *f, uint64_t *where)
{
    for (unsigned from = must; from < o->count;) {
        if (inner(m, o, from)) {
            from++;
            continue;
        }
        unsigned to = from;
        while (to + 1 < o->count && !inner(m, o, to + 1) &&
               !(!m->timer && o->versions[to + 1].group &&
                 !m->groups_open[o->versions[to + 1].group % CW_OBJECTS])) {
            to++;
        }
        if (mix(o, from, to, f, where)) {
            return true;
        }
        from = to + 1;
    }
    return false;
}

/* What a name means after the first `ops` operations. */
static struct cw_binding at_prefix(const struct cw_name *n, unsigned ops)
{
    struct cw_binding b = {-1, 0, 0};
    for (unsigned i = 0; i < n->count && n->list[i].op < ops; i++) {
        b = n->list[i];
    }
    return b;
}

/* Does the prefix explain everything? Otherwise says why, if asked. */
static bool explains(const struct cw_model *m, unsigned ops, const struct found *found, bool say)
{
    unsigned links[CW_NAMES];
    for (int i = 0; i < CW_NAMES; i++) {
        links[i] = 0;
        for (int j = 0; j < CW_NAMES; j++) {
            links[i] += at_prefix(&m->names[j], ops).obj == at_prefix(&m->names[i], ops).obj;
        }
    }
    for (int i = 0; i < CW_NAMES; i++) {
        struct cw_binding b = at_prefix(&m->names[i], ops);
        const struct found *f = &found[i];
        const struct cw_object *o = b.obj >= 0 ? &m->objects[b.obj] : NULL;
        uint64_t where = 0;
        if (f->there != (o != NULL)) {
            if (say) {
                fprintf(stderr, "f%d %s, expected %s\n", i, f->there ? "exists" : "is missing",
                        o ? "a file" : "nothing");
            }
            return false;
        }
        if (!o) {
            continue;
        }
        unsigned must = b.version > o->must ? b.version : o->must;
        if (f->nlink != links[i] || !content_allowed(m, o, must, f, &where)) {
            if (say) {
                fprintf(stderr,
                        "f%d (object %d, versions %u to %u, sizes %llu to %llu): %llu "
                        "bytes, %u links "
                        "(expected %u), wrong at %llu, where it has %02x\n",
                        i, b.obj, must, o->count - 1, (unsigned long long)o->versions[must].size,
                        (unsigned long long)o->versions[o->count - 1].size,
                        (unsigned long long)f->size, f->nlink, links[i], (unsigned long long)where,
                        where < f->size ? f->data[where] : 0);
            }
            return false;
        }
    }
    return true;
}

/* Directories hold known names only, and are there once they must be. Returns how many are there.
 */
static int check_dirs(const struct cw_model *m, const char *top, int *count)
{
    *count = 0;
    for (int d = 0; d < CW_DIRS; d++) {
        char path[4096];
        cw_dir_path(top, d, path);
        DIR *dir = opendir(path);
        if (!dir) {
            if ((unsigned)d < m->floor && (unsigned)d < m->ops) {
                fprintf(stderr, "check: %s: %s\n", path, strerror(errno));
                return 1;
            }
            continue;
        }
        (*count)++;
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            unsigned long n = e->d_name[0] == 'f' ? strtoul(e->d_name + 1, NULL, 10) : CW_NAMES;
            if (e->d_name[0] != '.' && (n >= CW_NAMES || n % CW_DIRS != (unsigned)d)) {
                fprintf(stderr, "check: stray name %s/%s\n", path, e->d_name);
                return 1;
            }
        }
        closedir(dir);
    }
    return 0;
}

int cw_check(struct cw_model *m, const char *top)
{
    static struct found found[CW_NAMES];
    int dirs;
    int bad = check_dirs(m, top, &dirs);
    for (int i = 0; i < CW_NAMES && !bad; i++) {
        char path[4096];
        cw_path(top, i, path);
        load(&found[i], path);
        bad |= found[i].bad;
    }
    if (bad) {
        return 1;
    }
    unsigned low = m->floor < m->ops ? m->floor : m->ops;
    for (unsigned ops = m->ops + 1; ops > low; ops--) {
        if (explains(m, ops - 1, found, false)) {
            return 0;
        }
    }
    fprintf(stderr, "check: no prefix of the operations (%u to %u) explains what is there:\n", low,
            m->ops);
    for (unsigned ops = m->ops + 1; ops > low && m->ops + 1 - ops < 12; ops--) {
        fprintf(stderr, "check: not the first %u: ", ops - 1);
        (void)explains(m, ops - 1, found, true);
    }
    return 1;
}
