/* SPDX-License-Identifier: MIT */
/*
 * Each history is played in a process of its own, which shares its result and the memory of the
 * daemon with this one. Stores lie in memory, below /dev/shm, and go with the run.
 */
#include "tests/sim/runner.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOG_KEPT (64u << 20) /* of a log's memory, between histories */

/* What a history tells. */
struct outcome {
    int rc;
    size_t step;
    struct sim_sums sums;
    char why[SIM_WHY];
};

/* Memory and directories of a run. */
struct site {
    struct sim_shared *shared;
    struct outcome *outcome;
    char base[256], dir[300];
};

static void *share(size_t size)
{
    void *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        abort();
    return p;
}

static void site_open(struct site *s, const char *base, unsigned number)
{
    s->shared = share(sizeof *s->shared + SIM_LOG_BYTES);
    s->outcome = share(sizeof *s->outcome);
    (void)snprintf(s->base, sizeof s->base, "%s", base);
    (void)snprintf(s->dir, sizeof s->dir, "%s/h%u", base, number);
}

static void site_close(struct site *s)
{
    munmap(s->shared, sizeof *s->shared + SIM_LOG_BYTES);
    munmap(s->outcome, sizeof *s->outcome);
}

static void make_base(char out[256])
{
    const char *where = getenv("FOLD_SIM_DIR");
    (void)snprintf(out, 256, "%s/foldfs-sim-XXXXXX", where != NULL ? where : "/dev/shm");
    if (mkdtemp(out) == NULL || setenv("TMPDIR", out, 1) != 0) {
        perror(out);
        exit(2);
    }
}

static void remove_base(const char *base)
{
    char command[300];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", base);
    if (system(command) != 0)
        perror(base);
}

static int site_play(struct site *s, const struct sim_program *p, bool loud, unsigned plant)
{
    if (atomic_load(&s->shared->log_used) > LOG_KEPT)
        (void)madvise(s->shared->log, SIM_LOG_BYTES, MADV_REMOVE);
    memset(s->outcome, 0, sizeof *s->outcome);
    s->outcome->rc = -1;
    atomic_store(&s->shared->plan.fired, 0);
    atomic_store(&s->shared->writes, 0);
    atomic_store(&s->shared->syncs, 0);
    s->shared->plant = plant;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static struct sim_play play;
        signal(SIGPIPE, SIG_IGN);
        signal(SIGINT, SIG_IGN); /* the history ends first */
        s->outcome->rc = sim_play(&play, p, s->shared, s->base, s->dir, loud);
        s->outcome->step = play.step;
        s->outcome->sums = play.sums;
        memcpy(s->outcome->why, play.why, SIM_WHY);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        s->outcome->rc = -1;
        (void)snprintf(s->outcome->why, SIM_WHY, "the player itself failed, status %d", status);
    }
    return s->outcome->rc;
}

int sim_run_one(const struct sim_program *p, bool loud, unsigned plant, char *why, size_t *step,
                struct sim_sums *sums)
{
    struct site s;
    char base[256];
    make_base(base);
    site_open(&s, base, 0);
    int rc = site_play(&s, p, loud, plant);
    (void)snprintf(why, SIM_WHY, "%s", s.outcome->why);
    *step = s.outcome->step;
    if (sums != NULL)
        *sums = s.outcome->sums;
    site_close(&s);
    remove_base(base);
    return rc;
}

/* Many seeds. */
struct total {
    _Atomic uint64_t next;
    _Atomic uint64_t failed;
    _Atomic uint64_t sums[9];
};

static void count(struct total *t, const struct sim_sums *s)
{
    const uint64_t add[] = {s->histories, s->requests, s->crashes, s->cuts,  s->faults,
                            s->checks,    s->writes,   s->syncs,   s->aborts};
    for (size_t i = 0; i < 9; i++)
        atomic_fetch_add(&t->sums[i], add[i]);
}

static void keep(const struct sim_run_options *opt, const struct sim_program *p,
                 const struct outcome *o)
{
    char path[600];
    (void)mkdir(opt->out, 0755);
    (void)snprintf(path, sizeof path, "%s/%" PRIu64 ".sim", opt->out, p->seed);
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return;
    (void)fprintf(f, "# step %zu: ", o->step);
    for (const char *c = o->why; *c != '\0'; c++) {
        (void)fputc(*c, f);
        if (*c == '\n')
            (void)fprintf(f, "# ");
    }
    (void)fprintf(f, "\n");
    sim_program_write(p, f);
    (void)fclose(f);
    printf("seed %" PRIu64 " fails at step %zu: %.300s\n  %s\n", p->seed, o->step, o->why, path);
    (void)fflush(stdout);
}

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
    (void)sig;
    stopped = 1;
}

static void work(const struct sim_run_options *opt, struct total *t, const char *base,
                 unsigned number, time_t end)
{
    static struct sim_program p;
    struct site s;
    site_open(&s, base, number);
    while (!stopped && (end == 0 || time(NULL) < end)) {
        uint64_t n = atomic_fetch_add(&t->next, 1);
        if (opt->count != 0 && n >= opt->count)
            break;
        sim_program_draw(&p, opt->first + n);
        if (site_play(&s, &p, false, 0) != 0) {
            atomic_fetch_add(&t->failed, 1);
            keep(opt, &p, s.outcome);
        }
        count(t, &s.outcome->sums);
    }
    _exit(0);
}

int sim_run(const struct sim_run_options *opt)
{
    struct total *t = share(sizeof *t);
    char base[256];
    struct timespec begin, now;
    make_base(base);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    time_t end = opt->seconds != 0 ? time(NULL) + (time_t)opt->seconds : 0;
    signal(SIGINT, stop);
    fflush(NULL);
    for (unsigned i = 0; i < opt->processes; i++)
        if (fork() == 0)
            work(opt, t, base, i, end);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double s = (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
    printf("seeds from %" PRIu64 ": %" PRIu64 " histories in %.0f s (%.0f a minute), %" PRIu64
           " requests, %" PRIu64 " ends of the daemon, %" PRIu64 " of them power cuts, %" PRIu64
           " calls that failed, %" PRIu64 " times it gave up, %" PRIu64 " fsck, %" PRIu64
           " writes and %" PRIu64 " syncs of the host; %" PRIu64 " fail\n",
           opt->first, t->sums[0], s, (double)t->sums[0] * 60 / s, t->sums[1], t->sums[2],
           t->sums[3], t->sums[4], t->sums[8], t->sums[5], t->sums[6], t->sums[7], t->failed);
    remove_base(base);
    return t->failed != 0;
}

/* Shrinking. */
struct shrinker {
    struct site site;
    char kind[64]; /* of failure */
    unsigned runs;
};

/* What a failure is called without its numbers. */
static void kind_of(const char *why, char out[64])
{
    size_t n = 0;
    for (; *why != '\0' && *why != '\n' && n < 40; why++)
        if ((*why < '0' || *why > '9') && !(n == 0 && *why == ' '))
            out[n++] = *why;
    out[n] = '\0';
}

static bool fails(struct shrinker *k, const struct sim_program *p)
{
    char kind[64];
    if (k->runs++ > 2000 || site_play(&k->site, p, false, 0) == 0)
        return false;
    kind_of(k->site.outcome->why, kind);
    return strncmp(kind, k->kind, 12) == 0;
}

static bool drop_steps(struct shrinker *k, struct sim_program *p)
{
    static struct sim_program less;
    bool any = false;
    for (size_t part = p->count / 2 + 1; part > 0; part /= 2)
        for (size_t at = 0; at < p->count;) {
            size_t n = part < p->count - at ? part : p->count - at;
            less = *p;
            memmove(&less.steps[at], &less.steps[at + n],
                    (less.count - at - n) * sizeof less.steps[0]);
            less.count -= n;
            if (fails(k, &less)) {
                *p = less;
                any = true;
            } else {
                at += n;
            }
        }
    return any;
}

static bool drop_knobs(struct shrinker *k, struct sim_program *p)
{
    static struct sim_program less;
    bool any = false;
    for (char *at = p->knobs; *at != '\0';) {
        size_t len = strcspn(at, ","), begin = (size_t)(at - p->knobs);
        less = *p;
        if (at[len] == ',')
            memmove(less.knobs + begin, less.knobs + begin + len + 1, strlen(at + len));
        else
            less.knobs[begin > 0 ? begin - 1 : 0] = '\0';
        if (fails(k, &less)) {
            *p = less;
            any = true;
            at = p->knobs + (begin <= strlen(p->knobs) ? begin : strlen(p->knobs));
        } else {
            at += len + (at[len] == ',');
        }
    }
    return any;
}

static bool lower_numbers(struct shrinker *k, struct sim_program *p)
{
    static struct sim_program less;
    bool any = false;
    for (size_t i = 0; i < p->count; i++)
        for (size_t a = 0; a < SIM_ARGS; a++)
            for (unsigned shift = 63; p->steps[i].a[a] > 0 && shift > 0; shift /= 2) {
                uint64_t is = p->steps[i].a[a], to = shift > 40 ? 0 : is >> shift;
                less = *p;
                less.steps[i].a[a] = to;
                if (to != is && fails(k, &less)) {
                    *p = less;
                    any = true;
                    shift = 64;
                }
            }
    return any;
}

static void simplify(struct shrinker *k, struct sim_program *p)
{
    static struct sim_program less;
    static const struct sim_program plain = {
        .chunker = 1, .hash = 1, .codec = 1, .chunk_size = 16384, .options = "commit=300"};
    less = *p;
    (void)snprintf(less.options, sizeof less.options, "%s", plain.options);
    if (fails(k, &less))
        *p = less;
    less = *p;
    less.host_blocks = less.host_free = 0;
    if (fails(k, &less))
        *p = less;
    less = *p;
    less.chunker = less.hash = less.codec = 1;
    less.chunk_size = plain.chunk_size;
    if (fails(k, &less))
        *p = less;
}

int sim_shrink(struct sim_program *p)
{
    struct shrinker k = {0};
    char base[256];
    make_base(base);
    site_open(&k.site, base, 0);
    int rc = site_play(&k.site, p, false, 0);
    if (rc != 0) {
        kind_of(k.site.outcome->why, k.kind);
        simplify(&k, p);
        while (drop_steps(&k, p) | drop_knobs(&k, p))
            ;
        if (lower_numbers(&k, p))
            (void)drop_steps(&k, p);
        (void)site_play(&k.site, p, false, 0);
        printf("# %u runs; step %zu: ", k.runs, k.site.outcome->step);
        for (const char *c = k.site.outcome->why; *c != '\0'; c++)
            printf(*c == '\n' ? "\n# " : "%c", *c);
        printf("\n");
        sim_program_write(p, stdout);
    } else {
        printf("# no fault\n");
    }
    site_close(&k.site);
    remove_base(base);
    return rc != 0;
}

/* Every planted fault must be found within so many histories. */
#define SELFTEST_HISTORIES 100u

int sim_selftest(void)
{
    static const char *const names[] = {"",
                                        "syncs of the journal do nothing",
                                        "syncs of segments do nothing",
                                        "writes are lost",
                                        "renames are lost",
                                        "reads are wrong"};
    static struct sim_program p;
    struct site s;
    char base[256];
    int rc = 0;
    make_base(base);
    site_open(&s, base, 0);
    for (unsigned plant = 1; plant < SIM_PLANT_COUNT; plant++) {
        uint64_t seed = 1;
        while (seed <= SELFTEST_HISTORIES) {
            sim_program_draw(&p, seed);
            if (site_play(&s, &p, false, plant) != 0)
                break;
            seed++;
        }
        bool found = seed <= SELFTEST_HISTORIES;
        printf("%s: %s after %" PRIu64 " histories%s%.150s\n", names[plant],
               found ? "found" : "NOT FOUND", found ? seed : seed - 1, found ? ": " : "",
               found ? s.outcome->why : "");
        rc = rc != 0 || !found;
    }
    site_close(&s);
    remove_base(base);
    return rc;
}
