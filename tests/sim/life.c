/* SPDX-License-Identifier: MIT */
/*
 * Lives of the daemon on one store, and what each must find of the lives before. After the end of
 * its process everything that was answered and is in the catalog is there; after a power cut, all
 * up to what was made durable. In both cases names and contents belong to one moment: operations up
 * to some number, and perhaps a part of the next.
 */
#include "tests/crash/diskmodel.h"
#include "tests/sim/play.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_tree(const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return errno == ENOENT ? 0 : -1;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char full[PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(full, sizeof full, "%s/%s", path, e->d_name);
        if (unlink(full) != 0 && errno == EISDIR)
            (void)remove_tree(full);
    }
    closedir(d);
    return rmdir(path);
}

static void copy_file(const char *from, const char *to)
{
    static char part[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t n = 0;
    while (in >= 0 && out >= 0 && (n = read(in, part, sizeof part)) > 0)
        if (write(out, part, (size_t)n) != n)
            abort();
    if (in < 0 || out < 0 || n < 0)
        abort();
    close(in);
    close(out);
}

static void copy_tree(const char *from, const char *to)
{
    DIR *d = opendir(from);
    if (d == NULL || mkdir(to, 0700) != 0)
        abort();
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char a[PATH_MAX], b[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(a, sizeof a, "%s/%s", from, e->d_name);
        (void)snprintf(b, sizeof b, "%s/%s", to, e->d_name);
        if (lstat(a, &st) == 0 && S_ISDIR(st.st_mode))
            copy_tree(a, b);
        else if (S_ISREG(st.st_mode))
            copy_file(a, b);
    }
    closedir(d);
}

/* A store as mkfs makes it, from the shelf; made if it is not there. */
static int take_template(struct sim_play *p, const char *templates, char path[PATH_MAX])
{
    const struct sim_program *g = p->program;
    char fresh[PATH_MAX + 16];
    (void)snprintf(path, PATH_MAX, "%s/mkfs-%u-%u-%u-%u", templates, g->chunker, g->hash, g->codec,
                   g->chunk_size);
    if (access(path, F_OK) == 0)
        return 0;
    (void)snprintf(fresh, sizeof fresh, "%s.%d", path, (int)getpid());
    p->shared->random = 1;
    int rc = sim_mkfs(p->shared, fresh, g->chunker, g->hash, g->codec, g->chunk_size);
    if (rc != 0) {
        (void)snprintf(p->why, SIM_WHY, "mkfs: %d", rc);
        return -1;
    }
    if (rename(fresh, path) != 0) /* another player was faster */
        (void)remove_tree(fresh);
    return 0;
}

int sim_life_begin(struct sim_play *p, const char *templates)
{
    char path[PATH_MAX];
    atomic_store(&p->shared->plan.fault, SIM_NO_FAULT);
    p->shared->host_blocks = 0;
    if (take_template(p, templates, path) != 0)
        return -1;
    (void)snprintf(p->store, sizeof p->store, "%s/store0", p->dir);
    (void)remove_tree(p->dir);
    if (mkdir(p->dir, 0700) != 0)
        abort();
    copy_tree(path, p->store);
    p->disk = disk_load(p->store);
    atomic_store(&p->shared->log_used, 0);
    atomic_store(&p->shared->log_full, false);
    p->shared->host_blocks = p->program->host_blocks;
    p->shared->host_free = p->program->host_free;
    p->shared->random = p->program->seed;
    p->life = (struct sim_life){.shared = p->shared,
                                .store = p->store,
                                .knobs = p->program->knobs[0] != '\0' ? p->program->knobs : NULL,
                                .seed = p->program->seed,
                                .threads = p->program->threads,
                                .loud = p->life.loud};
    return 0;
}

int sim_life_start(struct sim_play *p, bool read_only)
{
    char options[300];
    (void)snprintf(options, sizeof options, "%s%s", p->program->options, read_only ? ",ro" : "");
    p->life.options = options;
    p->tainted = false;
    p->expecting = false;
    p->fired_seen = 0;
    p->beside_ready = false;
    p->sums.faults += atomic_exchange(&p->shared->plan.fired, 0);
    memset(p->slots, 0, sizeof p->slots);
    int rc = wire_start(&p->w, &p->life);
    p->life.options = NULL;
    return rc == 0 ? 0 : sim_reply(p, "mount", rc);
}

/* The disk takes in what was logged since it last did. */
static int replay_log(struct sim_play *p)
{
    static const char *const kinds[] = {
        "",      "create",   "open",      "mkdir",       "rename",    "unlink", "rmdir",  "link",
        "write", "truncate", "fallocate", "sync begins", "sync ends", "mark",   "unknown"};
    uint64_t end = atomic_load(&p->shared->log_used);
    while (p->log_read < end) {
        const uint8_t *at = p->shared->log + p->log_read;
        struct crashlog_record r;
        char path[PATH_MAX], path2[PATH_MAX];
        memcpy(&r, at, sizeof r);
        at += sizeof r;
        (void)snprintf(path, sizeof path, "%.*s", (int)r.path_len, (const char *)at);
        (void)snprintf(path2, sizeof path2, "%.*s", (int)r.path2_len,
                       (const char *)at + r.path_len);
        at += r.path_len + r.path2_len;
        p->log_read += sizeof r + r.path_len + r.path2_len + r.data_len;
        if (p->life.loud)
            (void)fprintf(stderr, "host: %s %s %s node %llu at %llu, %llu bytes, number %llu\n",
                          r.kind < sizeof kinds / sizeof kinds[0] ? kinds[r.kind] : "?", path,
                          path2, (unsigned long long)r.node, (unsigned long long)r.off,
                          (unsigned long long)r.size, (unsigned long long)r.aux);
        if (!disk_apply(p->disk, &r, path, path2, at)) {
            (void)snprintf(p->why, SIM_WHY, "a call that cannot be replayed: kind %u %.300s",
                           r.kind, path);
            return -1;
        }
    }
    return 0;
}

/* The store is what the power cut left of it. */
static int cut_power(struct sim_play *p, uint64_t mode, uint64_t seed)
{
    char old[sizeof p->store];
    if (replay_log(p) != 0)
        return -1;
    (void)snprintf(old, sizeof old, "%s", p->store);
    (void)snprintf(p->store, sizeof p->store, "%s/store%u", p->dir, ++p->generation);
    disk_cut(p->disk, (enum cut_mode)(mode % CUT_MODES), seed, p->store);
    disk_free(p->disk);
    p->disk = disk_load(p->store);
    atomic_store(&p->shared->log_used, 0);
    p->log_read = 0;
    (void)remove_tree(old);
    p->sums.cuts++;
    return 0;
}

static int check(struct sim_play *p)
{
    int rc = sim_fsck(&p->life);
    p->sums.checks++;
    if (rc == 0)
        return 0;
    if (rc < 0)
        (void)snprintf(p->why, SIM_WHY, "fsck: code %d", rc);
    else
        (void)snprintf(p->why, SIM_WHY, "fsck: %d problems\n%.900s", rc, p->shared->text);
    return -1;
}

/* The model's node of something seen, at the same path of a snapshot. */
static struct sim_node *node_of(const struct sim_snapshot *s, const struct sim_sight *sight)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].path, sight->path) == 0)
            return s->items[i].node;
    return NULL;
}

/* The moment between operations p and p + 1, or in the middle of that: contents. */
static int judge_moment(struct sim_play *p, const struct sim_snapshot *s,
                        const struct sim_view *view, uint64_t moment)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct sim_sight *sight = &view->sights[i];
        const struct sim_node *n = S_ISREG(sight->mode) ? node_of(s, sight) : NULL;
        size_t first, end;
        if (n == NULL)
            continue;
        sim_node_versions(n, moment, &first, &end);
        if (sim_judge_mixed(sight, n, first, end, p->why) != 0)
            return -1;
    }
    return 0;
}

/* The model becomes what was seen; `durable`: the disk has it. */
static void adopt(struct sim_play *p, const struct sim_snapshot *s, const struct sim_view *view,
                  bool durable)
{
    struct sim_model *m = &p->m;
    sim_model_restore(m, s);
    m->unsure = UINT64_MAX;
    sim_model_begin(m);
    for (size_t i = 0; i < view->count; i++) {
        const struct sim_sight *sight = &view->sights[i];
        struct sim_node *n = node_of(s, sight);
        char why[SIM_WHY];
        if (p->life.loud)
            (void)fprintf(stderr, "life: %s size %llu\n", sight->path,
                          (unsigned long long)sight->size);
        n->ino = sight->ino;
        n->opens = 0;
        n->lookups = 0;
        if (!S_ISREG(sight->mode))
            continue;
        if (sim_judge_exact(sight, n, why) != 0)
            sim_node_change(m, n, sim_sight_version(&m->arena, sight));
        sim_node_commit(m, n, n->version_count - 1);
        n->doubt = SIZE_MAX;
    }
    sim_model_end(m, true);
    if (durable)
        m->durable = m->op;
}

/* All versions from operation `from` on of all files that have had this path since. */
static struct sim_node candidates(struct sim_play *p, const struct sim_sight *sight, uint64_t from)
{
    struct sim_model *m = &p->m;
    struct sim_node all = {0};
    const struct sim_node *last = NULL;
    for (uint64_t k = from; k <= m->op; k++) {
        const struct sim_node *n = node_of(m->snapshots[k], sight);
        size_t first, end;
        if (n == NULL || n == last)
            continue;
        last = n;
        sim_node_versions(n, from, &first, &end);
        for (; first < n->version_count; first++) {
            all.versions =
                sim_grow(&m->arena, all.versions, all.version_count, sizeof *all.versions);
            all.versions[all.version_count++] = n->versions[first];
        }
    }
    return all;
}

/* Reads all files as far as the judge will want it. */
static int look_deep(struct sim_play *p, struct sim_view *view, uint64_t from)
{
    for (size_t i = 0; i < view->count; i++) {
        struct sim_sight *sight = &view->sights[i];
        if (!S_ISREG(sight->mode))
            continue;
        const struct sim_node all = candidates(p, sight, from);
        int rc = sim_look_inside(&p->w, &p->m.arena, sight, &all, 0, UINT64_MAX, p->why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Which moment from operation `from` on this is. */
static int judge_crash(struct sim_play *p, uint64_t from, bool durable)
{
    struct sim_view view;
    struct sim_model *m = &p->m;
    from = from < m->unsure ? from : m->unsure;
    int rc = sim_look(&p->w, &m->arena, (unsigned)p->generation, &view, p->why);
    if (rc == 0)
        rc = look_deep(p, &view, from);
    if (rc != 0)
        return rc;
    char first_why[SIM_WHY] = "";
    for (uint64_t k = m->op + 1; k > from; k--) {
        uint64_t moment = k - 1;
        for (uint64_t names = moment; names <= moment + 1 && names <= m->op; names++) {
            const struct sim_snapshot *s = m->snapshots[names];
            if (strcmp(s->text, view.text) != 0)
                continue;
            if (judge_moment(p, s, &view, moment) == 0) {
                adopt(p, s, &view, durable);
                return 0;
            }
            if (first_why[0] == '\0')
                (void)snprintf(first_why, sizeof first_why, "%s", p->why);
        }
    }
    if (first_why[0] == '\0')
        (void)snprintf(first_why, sizeof first_why,
                       "no moment from operation %llu to %llu had these names:\n%.400s--- the last "
                       "had\n%.400s",
                       (unsigned long long)from, (unsigned long long)m->op, view.text,
                       m->snapshots[m->op]->text);
    (void)snprintf(p->why, SIM_WHY, "after %s: %.900s", durable ? "the power cut" : "the end",
                   first_why);
    return -1;
}

int sim_life_crash(struct sim_play *p, bool cut, uint64_t mode, uint64_t seed, bool fsck)
{
    wire_kill(&p->w);
    atomic_store(&p->shared->plan.fault, SIM_NO_FAULT);
    p->sums.crashes++;
    if (atomic_load(&p->shared->log_full)) {
        (void)snprintf(p->why, SIM_WHY, "the log of the host's calls is full");
        return -1;
    }
    int rc = cut ? cut_power(p, mode, seed) : 0;
    if (rc == 0 && fsck)
        rc = check(p);
    if (rc == 0)
        rc = sim_life_start(p, false);
    return rc == 0 ? judge_crash(p, cut ? p->m.durable : p->m.acked, cut) : rc;
}

int sim_life_look(struct sim_play *p, unsigned how)
{
    struct sim_view view;
    struct sim_model *m = &p->m;
    int rc = sim_look(&p->w, &m->arena, how, &view, p->why);
    if (rc == -1 && atomic_load(&p->shared->plan.fired) > 0)
        return 0; /* what fails now is compared after the next start */
    if (rc != 0)
        return rc;
    const struct sim_snapshot *s = m->snapshots[m->op];
    if (strcmp(s->text, view.text) != 0) {
        (void)snprintf(p->why, SIM_WHY, "the names are\n%.450s--- and should be\n%.450s", view.text,
                       s->text);
        return -1;
    }
    for (size_t i = 0; i < view.count; i++) {
        struct sim_sight *sight = &view.sights[i];
        struct sim_node *n = node_of(s, sight);
        size_t first = n->version_count - 1, end = n->version_count;
        if (!S_ISREG(sight->mode))
            continue;
        if (p->tainted || atomic_load(&p->shared->plan.fired) > 0)
            sim_node_versions(n, m->op, &first, &end);
        rc = sim_look_inside(&p->w, &m->arena, sight, n, first, UINT64_MAX, p->why);
        if (rc == -1 && atomic_load(&p->shared->plan.fired) > 0)
            return 0;
        if (rc == 0)
            rc = sim_judge_mixed(sight, n, first, end, p->why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sim_life_resolve(struct sim_play *p, const struct sim_snapshot *before)
{
    struct sim_view view;
    struct sim_model *m = &p->m;
    sim_model_end(m, true);
    int rc = sim_look(&p->w, &m->arena, 0, &view, p->why);
    for (int i = 0; i < 64 && rc == -1; i++) /* calls may still fail */
        rc = sim_look(&p->w, &m->arena, 0, &view, p->why);
    if (rc == -1) { /* the next life tells */
        m->unsure = m->op - 1;
        return sim_life_crash(p, false, 0, 0, false);
    }
    if (rc != 0 || strcmp(m->snapshots[m->op]->text, view.text) == 0)
        return rc;
    if (strcmp(before->text, view.text) != 0) {
        (void)snprintf(p->why, SIM_WHY, "after a request that failed the names are\n%.900s",
                       view.text);
        return -1;
    }
    sim_model_restore(m, before);
    sim_model_end(m, true);
    return 0;
}

int sim_life_remount(struct sim_play *p, bool read_only, bool fsck)
{
    struct sim_model *m = &p->m;
    atomic_store(&p->shared->plan.fault, SIM_NO_FAULT);
    sim_model_begin(m);
    int rc = sim_reply(p, "unmount", wire_order(&p->w, SIM_CLOSE));
    if (rc == 0 && !p->tainted && atomic_load(&p->shared->plan.fired) == 0) {
        sim_model_commit_all(m);
        m->durable = m->op;
    }
    sim_model_end(m, true);
    if (rc == 1)
        wire_kill(&p->w);
    rc = rc == 1 ? 0 : rc;
    if (rc == 0 && fsck)
        rc = check(p);
    if (rc == 0 && read_only) {
        rc = sim_life_start(p, true);
        if (rc == 0)
            rc = judge_crash(p, m->acked, false);
        if (rc == 0)
            rc = sim_reply(p, "unmount", wire_order(&p->w, SIM_CLOSE));
    }
    if (rc == 0)
        rc = sim_life_start(p, false);
    return rc == 0 ? judge_crash(p, m->acked, false) : rc;
}

void sim_life_end(struct sim_play *p)
{
    wire_kill(&p->w);
    if (p->disk != NULL)
        disk_free(p->disk);
    p->disk = NULL;
    (void)remove_tree(p->dir);
}
