/* SPDX-License-Identifier: MIT */
/*
 * foldfs mount, and mount.foldfs as mount(8) calls it. Everything that can be wrong with the
 * operands is found and said here, before a daemon exists.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/await.h"
#include "fs/cli/daemon.h"
#include "fs/cli/mounts.h"
#include "fs/cli/patient.h"
#include "fs/driver.h"
#include "fs/options.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/volume.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define ANSWER_WAIT_S 30
#define PROBE_WAIT_S  10

static const struct fold_cli_option options[] = {
    {'f', "foreground", NULL, "stay in the foreground until unmounted"},
    {'o', "options", "OPTS", "mount options, a comma list; may be given several times"},
    {0, NULL, NULL, NULL},
};

static const struct fold_cli_option helper_options[] = {
    {'s', "sloppy", NULL, "ignore unknown mount options"},
    {'f', "fake", NULL, "check everything but do not mount"},
    {'n', "no-mtab", NULL, "accepted for mount(8), without effect"},
    {'v', "verbose", NULL, "accepted for mount(8), without effect"},
    {'N', "namespace", "NS", "mount in the mount namespace of a process id or a file"},
    {'t', "types", "TYPE", "accepted for mount(8), without effect"},
    {'o', "options", "OPTS", "mount options, a comma list; may be given several times"},
    {0, NULL, NULL, NULL},
};

/* One command line of either form. */
struct mounting {
    const struct fold_verb *verb;
    struct fold_mount_options opt;
    bool foreground;
    bool fake;
    bool sloppy;
    const char *lists[32]; /* of -o, applied once `sloppy` is known */
    size_t list_count;
    const char *namespace;
    char *store; /* absolute */
    char *point; /* absolute */
};

static int fail(const struct mounting *m, int rc, const char *what)
{
    return fold_cli_fail(m->verb, fold_cli_mount_code(rc), "%s: %s", what, fold_err_text(rc));
}

static int check_store(struct mounting *m, const char *path)
{
    struct fold_volume_params params;
    m->store = realpath(path, NULL);
    if (m->store == NULL && errno == ENOENT)
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT,
                             "the store '%s' does not exist; create it with 'foldfs mkfs %s'", path,
                             path);
    if (m->store == NULL)
        return fail(m, -errno, path);
    int rc = fold_volume_probe(m->store, &params);
    if (rc == -EACCES || rc == -EPERM)
        return fold_cli_fail(m->verb, FOLD_EXIT_USAGE,
                             "no permission to open the store '%s'; mount as its owner or root",
                             path);
    if (rc == -ENOTDIR)
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT, "the store '%s' is not a directory", path);
    if (rc != 0)
        return fail(m, rc, path);
    if (m->opt.read_only || faccessat(AT_FDCWD, m->store, W_OK, AT_EACCESS) == 0)
        return 0;
    if (errno == EROFS)
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT,
                             "the store '%s' lies on a read-only filesystem; mount it with -o ro",
                             path);
    return fold_cli_fail(m->verb, FOLD_EXIT_USAGE,
                         "no permission to write to the store '%s'; mount it with -o ro", path);
}

static int check_point(struct mounting *m, const char *path)
{
    struct stat st;
    struct fold_mount there = {.point = NULL};
    if (fold_mounts_at(path, &there) == 0) {
        bool dead = fold_patient_probe(there.point, PROBE_WAIT_S) == -ENOTCONN;
        fold_cli_fail(m->verb, 0,
                      dead ? "a dead mount of '%2$s' lies on '%1$s': its daemon has died; 'foldfs "
                             "umount %1$s' first"
                           : "the mount point '%1$s' is busy: '%2$s' is mounted there; 'foldfs "
                             "umount %1$s' first",
                      path, there.store);
        fold_mount_free(&there);
        return FOLD_EXIT_MOUNT;
    }
    if (stat(path, &st) != 0 && errno == ENOENT)
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT,
                             "the mount point '%s' does not exist; create it with 'mkdir %s'", path,
                             path);
    m->point = realpath(path, NULL);
    if (m->point == NULL && errno == ENOTCONN)
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT,
                             "a dead FUSE mount lies on '%s': its daemon has died; 'umount -l %s' "
                             "first",
                             path, path);
    if (m->point == NULL || stat(m->point, &st) != 0)
        return fail(m, -errno, path);
    if (!S_ISDIR(st.st_mode))
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT, "the mount point '%s' is not a directory",
                             path);
    if (fold_path_within(m->point, m->store) || fold_path_within(m->store, m->point))
        return fold_cli_fail(
            m->verb, FOLD_EXIT_MOUNT,
            "the mount point '%s' and the store '%s' must not lie within each other", m->point,
            m->store);
    return 0;
}

static bool have_fusermount(void)
{
    static const char *const places[] = {"/usr/bin/fusermount3", "/bin/fusermount3",
                                         "/usr/local/bin/fusermount3"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(places); i++)
        if (access(places[i], X_OK) == 0)
            return true;
    return false;
}

static int check_fuse(const struct mounting *m)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        if (geteuid() == 0 || have_fusermount())
            return 0;
        return fold_cli_fail(
            m->verb, FOLD_EXIT_SYSTEM,
            "mounting without being root needs fusermount3; install the package fuse3");
    }
    if (errno == EACCES || errno == EPERM)
        return fold_cli_fail(m->verb, FOLD_EXIT_USAGE,
                             "no permission to use /dev/fuse; mount as root");
    return fold_cli_fail(
        m->verb, FOLD_EXIT_SYSTEM,
        "/dev/fuse cannot be opened (%s); load the kernel module with 'modprobe fuse'",
        strerror(errno));
}

/* Serves the mount; the exit code says how it went. */
static int serve(void *arg, int ready_fd)
{
    const struct mounting *m = arg;
    if (m->opt.debug)
        fold_log_set_level(FOLD_LOG_DEBUG);
    int rc = fold_driver_run(m->store, m->point, &m->opt, ready_fd);
    if (rc == 0)
        return FOLD_EXIT_OK;
    return fold_cli_fail(m->verb, fold_cli_mount_code(rc), "cannot serve '%s' on '%s': %s",
                         m->store, m->point, fold_err_text(rc));
}

static int start(struct mounting *m)
{
    pid_t pid;
    char why[4608];
    if (m->fake)
        return FOLD_EXIT_OK;
    if (fold_store_await(m->verb, m->store, m->opt.read_only, why, sizeof why) != 0)
        return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT, "%s", why);
    if (m->foreground || m->opt.debug)
        return serve(m, -1);
    int code = fold_daemon_start(serve, m, &pid);
    if (code != FOLD_EXIT_OK)
        return code;
    int rc = fold_patient_probe(m->point, ANSWER_WAIT_S);
    if (rc == 0)
        return FOLD_EXIT_OK;
    kill(pid, SIGTERM);
    return fold_cli_fail(m->verb, FOLD_EXIT_MOUNT, "mounted on '%s', but it does not answer: %s",
                         m->point, fold_err_text(rc));
}

static int enter_namespace(const struct mounting *m)
{
    char path[64];
    const char *file = m->namespace;
    if (file[strspn(file, "0123456789")] == '\0') {
        snprintf(path, sizeof path, "/proc/%.20s/ns/mnt", m->namespace);
        file = path;
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    int rc = fd >= 0 && setns(fd, CLONE_NEWNS) == 0 ? 0 : -errno;
    if (fd >= 0)
        close(fd);
    if (rc == 0)
        return 0;
    return fold_cli_fail(m->verb, fold_cli_mount_code(rc),
                         "cannot enter the mount namespace '%s': %s", m->namespace, strerror(-rc));
}

static int prepare(struct mounting *m, char **operands)
{
    char why[256];
    for (size_t i = 0; i < m->list_count; i++)
        if (fold_mount_options_parse(&m->opt, m->lists[i], m->sloppy, why, sizeof why) != 0)
            return fold_cli_fail(m->verb, FOLD_EXIT_USAGE, "%s", why);
    if (m->opt.labels[0] != '\0' && access("/sys/fs/selinux/enforce", F_OK) != 0)
        return fold_cli_fail(m->verb, FOLD_EXIT_USAGE,
                             "mount option %s needs SELinux, which this system does not use",
                             m->opt.labels);
    int code = m->namespace != NULL ? enter_namespace(m) : 0;
    if (code == 0)
        code = check_store(m, operands[0]);
    if (code == 0)
        code = check_point(m, operands[1]);
    if (code == 0)
        code = check_fuse(m);
    return code;
}

static int take_option(struct mounting *m, int id, const char *value, bool helper)
{
    switch (id) {
    case 'o':
        if (m->list_count == FOLD_ARRAY_LEN(m->lists))
            return fold_cli_misuse(m->verb, "too many -o; join the lists with commas");
        m->lists[m->list_count++] = value;
        return 0;
    case 'f':
        *(helper ? &m->fake : &m->foreground) = true;
        return 0;
    case 's':
        m->sloppy = true;
        return 0;
    case 'N':
        m->namespace = value;
        return 0;
    default:
        return 0;
    }
}

static int run_either(const struct fold_verb *verb, int argc, char **argv, bool helper)
{
    struct mounting m = {.verb = verb};
    struct fold_cli cli;
    const char *value;
    int id;
    fold_mount_options_init(&m.opt, geteuid() == 0);
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        int code = take_option(&m, id, value, helper);
        if (code != 0)
            return code;
    }
    char **operands = fold_cli_operands(&cli, 2, 2, NULL);
    if (operands == NULL)
        return cli.exit;
    int code = prepare(&m, operands);
    if (code == 0)
        code = start(&m);
    free(m.store);
    free(m.point);
    return code;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    return run_either(verb, argc, argv, false);
}

static int run_helper(const struct fold_verb *verb, int argc, char **argv)
{
    return run_either(verb, argc, argv, true);
}

static void more_help(FILE *out)
{
    fputs("\nMount options:\n", out);
    fold_mount_options_help(out);
}

const struct fold_verb fold_verb_mount = {
    .name = "mount",
    .synopsis = "[-f] [-o OPTS] STORE MOUNTPOINT",
    .summary = "mount a store",
    .details = "Returns once the mount answers; the daemon then works in the background.\n",
    .options = options,
    .more_help = more_help,
    .run = run,
};

const struct fold_verb fold_verb_mount_helper = {
    .name = "mount",
    .synopsis = "STORE MOUNTPOINT [-sfnv] [-N NS] [-t TYPE] [-o OPTS]",
    .summary = "mount a store, as mount(8) asks for it",
    .options = helper_options,
    .more_help = more_help,
    .run = run_helper,
};
