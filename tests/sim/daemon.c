/* SPDX-License-Identifier: MIT */
/*
 * The daemon below the kernel: session, request loop and libfuse as in the program, but the device
 * is memory shared with the player, and the worker pool is a list of tasks that are run here, in an
 * order drawn from the seed. What the program's timers do is done when the player orders it.
 */
#include "tests/sim/daemon.h"

#include "fs/collector.h"
#include "fs/driver.h"
#include "fs/flush.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "fs/refold.h"
#include "fs/scrubber.h"
#include "fs/session.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/base/workers.h"
#include "meta/check.h"
#include "tests/support/random.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

struct task {
    void (*fn)(void *arg);
    void *arg;
};

static struct sim_shared *shared;
static struct fold_session *session;
static struct fuse_session *fuse;
static int down_fd, up_fd;
static bool threads;
static uint64_t draw = 1;
static struct task *tasks;
static size_t task_count, task_cap;
static _Atomic uint64_t outstanding; /* number of the request that has no reply yet */
static pthread_mutex_t reply_lock = PTHREAD_MUTEX_INITIALIZER;
static bool storing; /* the nested request is being handled */
static pthread_t main_thread;
static uint64_t reads;

/* The worker pool, without threads. */
int __real_fold_workers_create(unsigned count, const char *name, struct fold_workers **out);
void __real_fold_workers_destroy(struct fold_workers *w);
int __real_fold_workers_submit(struct fold_workers *w, void (*fn)(void *arg), void *arg);
void __real_fold_workers_parallel(struct fold_workers *w, size_t n, void (*fn)(void *, size_t),
                                  void *arg);
int __wrap_fold_workers_create(unsigned count, const char *name, struct fold_workers **out);
void __wrap_fold_workers_destroy(struct fold_workers *w);
int __wrap_fold_workers_submit(struct fold_workers *w, void (*fn)(void *arg), void *arg);
void __wrap_fold_workers_parallel(struct fold_workers *w, size_t n, void (*fn)(void *, size_t),
                                  void *arg);

static void run_tasks(void)
{
    pthread_mutex_lock(&reply_lock);
    while (task_count > 0) {
        size_t i = rig_random_mixed(&draw) % task_count;
        struct task t = tasks[i];
        memmove(&tasks[i], &tasks[i + 1], (--task_count - i) * sizeof t);
        pthread_mutex_unlock(&reply_lock);
        t.fn(t.arg);
        pthread_mutex_lock(&reply_lock);
    }
    pthread_mutex_unlock(&reply_lock);
}

int __wrap_fold_workers_create(unsigned count, const char *name, struct fold_workers **out)
{
    if (threads)
        return __real_fold_workers_create(count, name, out);
    *out = malloc(1);
    return *out != NULL ? 0 : -ENOMEM;
}

void __wrap_fold_workers_destroy(struct fold_workers *w)
{
    if (threads) {
        __real_fold_workers_destroy(w);
        return;
    }
    if (w != NULL)
        run_tasks();
    free(w);
}

int __wrap_fold_workers_submit(struct fold_workers *w, void (*fn)(void *arg), void *arg)
{
    if (threads)
        return __real_fold_workers_submit(w, fn, arg);
    pthread_mutex_lock(&reply_lock);
    if (task_count == task_cap) {
        size_t cap = task_cap * 2 + 16;
        struct task *grown = realloc(tasks, cap * sizeof *grown);
        if (grown == NULL) {
            pthread_mutex_unlock(&reply_lock);
            return -ENOMEM;
        }
        tasks = grown;
        task_cap = cap;
    }
    tasks[task_count++] = (struct task){fn, arg};
    pthread_mutex_unlock(&reply_lock);
    return 0;
}

void __wrap_fold_workers_parallel(struct fold_workers *w, size_t n, void (*fn)(void *, size_t),
                                  void *arg)
{
    if (threads && w != NULL) {
        __real_fold_workers_parallel(w, n, fn, arg);
        return;
    }
    for (size_t i = 0; i < n; i++)
        fn(arg, i);
}

/* Allocations of foldfs itself. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool no_memory(void)
{
    if (shared == NULL || atomic_load(&shared->plan.fault) != SIM_ENOMEM)
        return false;
    struct sim_plan *p = &shared->plan;
    uint64_t wait = atomic_load(&p->wait);
    while (wait > 0)
        if (atomic_compare_exchange_weak(&p->wait, &wait, wait - 1))
            return false;
    if (atomic_fetch_sub(&p->repeat, 1) == 1)
        atomic_store(&p->fault, SIM_NO_FAULT);
    atomic_fetch_add(&p->fired, 1);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return no_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return no_memory() ? NULL : __real_realloc(p, size);
}

/* Nobody calls the control socket. */
struct fold_control;
struct fold_control_verb;
int __wrap_fold_control_start(int storefd, const struct fold_control_verb *verbs, size_t n, void *s,
                              struct fold_control **out);

int __wrap_fold_control_start(int storefd, const struct fold_control_verb *verbs, size_t n, void *s,
                              struct fold_control **out)
{
    (void)storefd, (void)verbs, (void)n, (void)s;
    *out = NULL;
    return 0;
}

/* Everything that was asked for is done, as far as it does not wait for something else. */
static void settle(void)
{
    run_tasks();
    if (outstanding != 0 && !threads && session->flusher != NULL) {
        bool spared = true; /* a writer waits for memory: the timer's work */
        if (fold_flush_due(session, &spared) != 0)
            fold_warn("a flush for want of memory failed");
        run_tasks();
    }
    for (int i = 0; threads && outstanding != 0 && i < 20000; i++) {
        const struct timespec ms = {.tv_nsec = i < 100 ? 20000 : 1000000};
        nanosleep(&ms, NULL);
    }
}

static int carry_out(enum sim_order order)
{
    struct fold_collect_result collected;
    const struct fold_collect_options how = {.full = order == SIM_COLLECT_ALL, .walkers = 1};
    const struct fold_scrubber_options scrub = {.restart = true};
    json_t *report = NULL;
    bool spared = false;
    int rc = 0;
    switch (order) {
    case SIM_SYNC:
        return fold_flush_all(session);
    case SIM_DUE:
        return fold_flush_due(session, &spared);
    case SIM_COLLECT:
    case SIM_COLLECT_ALL:
        return fold_collector_run(session->collector, &how, &collected);
    case SIM_REFOLD:
        return fold_refolder_run(session->refolder, NULL);
    case SIM_CHECKPOINT:
        return fold_catalog_checkpoint(session->volume->catalog);
    case SIM_SCRUB:
        rc = fold_scrubber_run(session, &scrub, &report);
        if (rc == 0 && json_array_size(json_object_get(report, "damaged")) > 0)
            rc = -FOLD_E_BAD_RECORD;
        json_decref(report);
        return rc;
    default:
        return -EINVAL;
    }
}

static void wait_for_order(void)
{
    char c = 0;
    if (write(up_fd, &c, 1) != 1 || read(down_fd, &c, 1) != 1)
        _exit(1); /* the player is gone */
}

/* Answers a request without carrying it out, if that fault is planted. */
static bool lose(const struct fuse_in_header *h)
{
    static unsigned writes;
    bool write = shared->plant == SIM_PLANT_LOSE_WRITE && h->opcode == FUSE_WRITE;
    bool name = shared->plant == SIM_PLANT_LOSE_RENAME && h->opcode == FUSE_RENAME2;
    if (!name && !(write && ++writes % 4 == 0))
        return false;
    struct fuse_write_in in;
    struct fuse_write_out out = {0};
    struct fuse_out_header reply = {.unique = h->unique};
    struct iovec iov[] = {{&reply, sizeof reply}, {&out, write ? sizeof out : 0}};
    memcpy(&in, shared->request + sizeof *h, sizeof in);
    out.size = in.size;
    reply.len = (uint32_t)(iov[0].iov_len + iov[1].iov_len);
    (void)sim_device_write(iov, 2);
    return true;
}

long sim_device_read(void *buf, size_t len)
{
    for (;;) {
        settle();
        if (shared->closed)
            return 0;
        wait_for_order();
        shared->reply_used = 0;
        if (shared->order == SIM_CLOSE)
            return 0;
        if (shared->order != SIM_REQUEST) {
            shared->result = carry_out(shared->order);
            continue;
        }
        if (shared->request_len > len)
            abort();
        struct fuse_in_header h;
        memcpy(buf, shared->request, shared->request_len);
        memcpy(&h, buf, sizeof h);
        if (lose(&h))
            continue;
        bool silent = h.opcode == FUSE_FORGET || h.opcode == FUSE_BATCH_FORGET;
        outstanding = silent ? 0 : h.unique;
        return shared->request_len;
    }
}

long sim_device_write(const struct iovec *iov, int count)
{
    struct fuse_out_header h;
    memcpy(&h, iov[0].iov_base, sizeof h);
    pthread_mutex_lock(&reply_lock);
    uint8_t *to = shared->reply + shared->reply_used;
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        if (shared->reply_used + total + iov[i].iov_len > SIM_REPLY_BYTES)
            abort();
        memcpy(to + total, iov[i].iov_base, iov[i].iov_len);
        total += iov[i].iov_len;
    }
    if (shared->plant == SIM_PLANT_STALE_READ && total > 4096 && ++reads % 4 == 0)
        to[total - 1] ^= 1;
    shared->reply_used += (uint32_t)total;
    pthread_mutex_unlock(&reply_lock);
    if (h.unique != 0 && h.unique == outstanding)
        outstanding = 0;
    return (long)total;
}

void sim_device_storing(void)
{
#ifdef FOLD_LOCK_CHECK
    return; /* another thread's request, on this one: its locks would be in the wrong order */
#endif
    if (shared->nested_len == 0 || storing || threads ||
        !pthread_equal(pthread_self(), main_thread))
        return;
    storing = true;
    struct fuse_buf request = {.size = shared->nested_len, .mem = shared->nested};
    struct fold_raw_request before = fold_raw_request;
    fold_raw_request = (struct fold_raw_request){0};
    fuse_session_process_buf(fuse, &request);
    fold_raw_request = before;
    shared->nested_len = 0;
    storing = false;
}

static long idle_write(int fd, struct iovec *iov, int count, void *data)
{
    (void)fd, (void)iov, (void)count, (void)data;
    return -1;
}

static long idle_read(int fd, void *buf, size_t len, void *data)
{
    (void)fd, (void)buf, (void)len, (void)data;
    return -1;
}

static int serve(void)
{
    static const struct fuse_custom_io io = {.writev = idle_write, .read = idle_read};
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    FOLD_AUTO(free) char *options = fold_mount_options_fuse(&session->opt, "store");
    struct fuse_lowlevel_ops ops;
    struct fold_loop *loop;
    if (options == NULL || fuse_opt_add_arg(&args, "foldfs") != 0 ||
        fuse_opt_add_arg(&args, "-o") != 0 || fuse_opt_add_arg(&args, options) != 0)
        return -ENOMEM;
    fold_driver_ops(&ops);
    fuse = fuse_session_new(&args, &ops, sizeof ops, session);
    session->fuse = fuse;
    int device = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fuse == NULL || device < 0 || fuse_session_custom_io(fuse, &io, device) != 0)
        return -EIO;
    sim_host_device(device);
    int rc = fold_loop_create(session, fuse, -1, &loop);
    return rc == 0 ? fold_loop_run(loop, 1) : rc;
}

/* Where the daemon died, for whoever plays one program. */
static void say_where(int sig)
{
    void *frames[32];
    int n = backtrace(frames, 32);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* In the new process. */
static void begin_process(const struct sim_life *life)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!life->loud) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        fold_log_set_level(FOLD_LOG_ERROR);
        dup2(null, STDERR_FILENO);
        close(null);
    } else {
        signal(SIGABRT, say_where);
        signal(SIGSEGV, say_where);
    }
    (void)mallopt(M_ARENA_MAX, 1); /* an arena for each thread costs more than it is worth here */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* so do pages of which little is used */
    fold_knobs.db_open_threads = 1;
    fold_knobs.filter_min_keys = 1;
    if (life->knobs != NULL && fold_knobs_set(life->knobs) != 0)
        _exit(9);
    sim_host_begin(life->store, life->shared);
    shared = life->shared;
    main_thread = pthread_self();
}

static void live(const struct sim_life *life)
{
    char why[256];
    struct fold_mount_options opt;
    begin_process(life);
    threads = life->threads;
    draw = life->seed * 2 + 1;
    fold_mount_options_init(&opt, true);
    opt.uring = FOLD_URING_OFF;
    if (fold_mount_options_parse(&opt, life->options, false, why, sizeof why) != 0) {
        fold_error("%s", why);
        _exit(9);
    }
    int rc = fold_session_open(life->store, &opt, &session);
    if (rc == 0) {
        shared->ready = true;
        rc = serve();
        int closed = fold_session_close(session);
        rc = rc != 0 ? rc : closed;
    }
    shared->result = rc;
    shared->closed = true;
    char c = 0;
    (void)!write(up_fd, &c, 1);
    _exit(0);
}

pid_t sim_daemon_start(const struct sim_life *life, int *down, int *up)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        abort();
    life->shared->ready = life->shared->closed = false;
    life->shared->result = 0;
    life->shared->reply_used = 0;
    life->shared->nested_len = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        down_fd = to[0];
        up_fd = from[1];
        live(life);
    }
    close(to[0]);
    close(from[1]);
    *down = to[1];
    *up = from[0];
    return pid;
}

static int wait_result(pid_t pid, const struct sim_shared *s)
{
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return -ECHILD;
    return s->result;
}

int sim_mkfs(struct sim_shared *s, const char *store, unsigned chunker, unsigned hash,
             unsigned codec, uint32_t chunk_size)
{
    const struct sim_life life = {.shared = s, .store = store};
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        begin_process(&life);
        struct fold_volume_params p = {.chunker = (uint8_t)chunker,
                                       .hash = (uint8_t)hash,
                                       .codec = (uint8_t)codec,
                                       .chunk_size = chunk_size};
        s->result = fold_volume_format(store, &p);
        _exit(0);
    }
    return wait_result(pid, s);
}

int sim_fsck(const struct sim_life *life)
{
    struct sim_shared *s = life->shared;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        begin_process(life);
        const struct fold_check_options opt = {.data = true};
        struct fold_check_result r;
        int rc = fold_check_run(life->store, &opt, &r);
        size_t used = 0;
        int bad = 0;
        s->text[0] = 0;
        for (size_t i = 0; rc == 0 && i < r.count; i++) {
            if (r.problems[i].severity == FOLD_SEVERITY_NOTE)
                continue;
            bad++;
            if (used + 512 < SIM_TEXT_BYTES)
                used += (size_t)snprintf(s->text + used, 512, "%s: %s: %s\n", r.problems[i].code,
                                         r.problems[i].object, r.problems[i].message);
        }
        s->result = rc != 0 ? rc : bad;
        _exit(0);
    }
    return wait_result(pid, s);
}
