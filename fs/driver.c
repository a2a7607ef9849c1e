/* SPDX-License-Identifier: MIT */
/*
 * Mounting through libfuse, serving with our own loop, and leaving in order. Signals are taken by a
 * thread of their own: the first SIGTERM or SIGINT makes everything durable and unmounts; the mount
 * goes as soon as nobody uses it.
 */
#include "fs/driver.h"

#include "fs/control.h"
#include "fs/flush.h"
#include "fs/longwork.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "fs/session.h"
#include "fs/utab.h"
#include "meta/base/err.h"
#include "meta/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

struct driver {
    struct fold_session *session;
    struct fuse_session *fuse;
    struct fold_loop *loop;
    const char *mountpoint;
    pthread_t signals;
    bool has_signals;
    atomic_bool leaving;
};

static void want(struct fuse_conn_info *conn, unsigned cap, bool on)
{
    if (on && (conn->capable & cap) != 0)
        conn->want |= cap;
    else if (!on)
        conn->want &= ~cap;
}

/* What we ask of the kernel and why: docs/DESIGN.md, "The transport". */
static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct fold_session *s = userdata;
    want(conn, FUSE_CAP_ASYNC_READ, true);
    want(conn, FUSE_CAP_ATOMIC_O_TRUNC, true);
    want(conn, FUSE_CAP_EXPORT_SUPPORT, true);
    want(conn, FUSE_CAP_DONT_MASK, true);
    want(conn, FUSE_CAP_POSIX_ACL, true);
    want(conn, FUSE_CAP_READDIRPLUS, true);
    want(conn, FUSE_CAP_READDIRPLUS_AUTO, true);
    want(conn, FUSE_CAP_ASYNC_DIO, false);
    want(conn, FUSE_CAP_CACHE_SYMLINKS, true);
    want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
    want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
    want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
    want(conn, FUSE_CAP_SPLICE_READ, false);
    want(conn, FUSE_CAP_SPLICE_WRITE, false);
    want(conn, FUSE_CAP_SPLICE_MOVE, false);
    want(conn, FUSE_CAP_HANDLE_KILLPRIV, false); /* the second version is added by the loop */
    conn->max_write = 1u << 20;
    conn->max_read = (unsigned)s->opt.max_read_bytes;
    conn->max_readahead = UINT32_MAX;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
    conn->time_gran = 1;
}

void fold_driver_ops(struct fuse_lowlevel_ops *ops)
{
    *ops = (struct fuse_lowlevel_ops){.init = op_init};
    fold_ops_name(ops);
    fold_ops_attr(ops);
    fold_ops_dir(ops);
    fold_ops_xattr(ops);
    fold_ops_file(ops);
    fold_ops_range(ops);
}

static int new_fuse(struct driver *d, const char *store)
{
    struct fuse_lowlevel_ops ops;
    fold_driver_ops(&ops);
    FOLD_AUTO(free) char *options = fold_mount_options_fuse(&d->session->opt, store);
    if (options == NULL)
        return -ENOMEM;
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int rc = fuse_opt_add_arg(&args, "foldfs") != 0 || fuse_opt_add_arg(&args, "-o") != 0 ||
             fuse_opt_add_arg(&args, options) != 0;
    if (rc == 0 && d->session->opt.debug)
        rc = fuse_opt_add_arg(&args, "-d");
    if (rc == 0)
        d->fuse = fuse_session_new(&args, &ops, sizeof ops, d->session);
    fuse_opt_free_args(&args);
    d->session->fuse = d->fuse;
    return d->fuse != NULL ? 0 : -EINVAL;
}

/* The device number of the mount, which the kernel knows without asking us. 0 if there is none. */
static dev_t device_of(const char *mountpoint)
{
    struct statx st;
    if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) != 0)
        return 0;
    return makedev(st.stx_dev_major, st.stx_dev_minor);
}

/* What others find us by: by the mount, whatever becomes of the store's path. */
static void announce(const struct driver *d, const char *store)
{
    struct fold_session *s = d->session;
    dev_t dev = device_of(d->mountpoint);
    atomic_store(&s->device, dev);
    int rc = dev != 0 ? fold_control_serve_mount(s->control, dev) : -ENODEV;
    if (rc != 0)
        fold_warn("other commands cannot find this mount by its device number: %s", strerror(-rc));
    fold_utab_add(store, d->mountpoint);
}

/* The kernel reads ahead 128 KiB in FUSE mounts by default; more pays, since one request then
 * covers many chunks. */
static void set_readahead(const struct driver *d)
{
    dev_t dev = atomic_load(&d->session->device);
    char path[64];
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return;
    fprintf(f, "%llu\n", (unsigned long long)(d->session->opt.readahead_bytes / 1024));
    fclose(f);
}

/* Users other than root have no right to unmount; the set-uid helper of libfuse has. */
static int detach_as_user(const char *mountpoint)
{
    const char *const argv[] = {"fusermount3", "-u", "-z", "--", mountpoint, NULL};
    sigset_t none;
    posix_spawnattr_t attr;
    pid_t pid;
    int status = 0;
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    int rc = -posix_spawnp(&pid, argv[0], NULL, &attr, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attr);
    if (rc == 0 && waitpid(pid, &status, 0) != pid)
        rc = -errno;
    return rc == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ? -EPERM : rc;
}

static int detach(const char *mountpoint)
{
    if (umount2(mountpoint, MNT_DETACH) == 0)
        return 0;
    return errno == EPERM ? detach_as_user(mountpoint) : -errno;
}

/* Those that a thread of its own waits for. */
static sigset_t awaited_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    return set;
}

static void *signal_main(void *arg)
{
    struct driver *d = arg;
    pthread_setname_np(pthread_self(), "fold-signal");
    sigset_t set = awaited_signals();
    set_readahead(d);
    for (;;) {
        int sig = 0;
        if (sigwait(&set, &sig) != 0)
            continue;
        if (sig == SIGUSR1 && atomic_load(&d->leaving))
            return NULL;
        if (sig == SIGUSR1 || sig == SIGHUP)
            continue;
        fold_info("signal %d: unmounting %s", sig, d->mountpoint);
        fold_longs_hurry(d->session->longs); /* their callers may keep the mount in use */
        if (!d->session->opt.read_only && fold_flush_all(d->session) != 0)
            fold_error("not everything could be made durable before unmounting");
        if (umount2(d->mountpoint, 0) == 0)
            continue;
        if (errno == EBUSY)
            fold_info("%s is in use; it is detached now and closed when its last user is gone",
                      d->mountpoint);
        int rc = detach(d->mountpoint);
        if (rc != 0)
            fold_error("unmounting %s: %s", d->mountpoint, strerror(-rc));
    }
}

/* What libfuse has to say goes where everything else does. Its lines end in a newline. */
static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char line[512];
    int n = vsnprintf(line, sizeof line, fmt, ap);
    if (n > 0 && n < (int)sizeof line && line[n - 1] == '\n')
        line[n - 1] = '\0';
    fold_log(level <= FUSE_LOG_ERR       ? FOLD_LOG_ERROR
             : level <= FUSE_LOG_WARNING ? FOLD_LOG_WARN
             : level <= FUSE_LOG_INFO    ? FOLD_LOG_INFO
                                         : FOLD_LOG_DEBUG,
             "%s", line);
}

static void block_signals(void)
{
    sigset_t set = awaited_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void raise_fd_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static unsigned loop_threads(const struct fold_mount_options *opt)
{
    if (opt->threads != 0)
        return opt->threads;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)FOLD_MAX(3, FOLD_MIN(cpus, 8));
}

static int mount_and_serve(struct driver *d, const char *store, int ready_fd)
{
    int rc = new_fuse(d, store);
    if (rc != 0)
        return rc;
    errno = 0;
    if (fuse_session_mount(d->fuse, d->mountpoint) != 0)
        return errno != 0 ? -errno : -EIO;
    announce(d, store);
    rc = fold_loop_create(d->session, d->fuse, ready_fd, &d->loop);
    if (rc == 0) {
        d->has_signals = pthread_create(&d->signals, NULL, signal_main, d) == 0;
        rc = fold_loop_run(d->loop, loop_threads(&d->session->opt));
    }
    fuse_session_unmount(d->fuse);
    fold_utab_remove(d->mountpoint);
    return rc;
}

int fold_driver_run(const char *store, const char *mountpoint, const struct fold_mount_options *opt,
                    int ready_fd)
{
    struct driver d = {.mountpoint = mountpoint};
    fuse_set_log_func(log_fuse);
    raise_fd_limit();
    block_signals(); /* before any thread: all inherit the mask */
    int rc = fold_session_open(store, opt, &d.session);
    if (rc != 0)
        return rc;
    atomic_store(&d.session->mountpoint, mountpoint);
    rc = mount_and_serve(&d, store, ready_fd);
    if (d.has_signals) {
        atomic_store(&d.leaving, true);
        pthread_kill(d.signals, SIGUSR1);
        pthread_join(d.signals, NULL);
    }
    int closed = fold_session_close(d.session);
    if (d.fuse != NULL)
        fuse_session_destroy(d.fuse);
    fold_loop_destroy(d.loop);
    return rc != 0 ? rc : closed;
}
