/* SPDX-License-Identifier: MIT */
/*
 * The command line without a mount: dispatch, help, sentences and exit codes; paths and mountinfo;
 * waiting with an end.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/mounts.h"
#include "fs/cli/patient.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

static char dir[64];

struct outcome {
    int code;
    char out[16384];
    char err[4096];
};

static void slurp(FILE *file, char *text, size_t size)
{
    rewind(file);
    size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    fclose(file);
}

/* Runs a command line (words separated by single spaces) in a child. */
static struct outcome run(const char *line)
{
    struct outcome o;
    char copy[1024];
    char *words = copy;
    char *argv[32];
    int argc = 0;
    int status;
    snprintf(copy, sizeof copy, "%s", line);
    while (words != NULL && argc < 31)
        argv[argc++] = strsep(&words, " ");
    argv[argc] = NULL;
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    assert_true(out != NULL && err != NULL);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        int code = fold_verbs_main(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    o.code = WEXITSTATUS(status);
    slurp(out, o.out, sizeof o.out);
    slurp(err, o.err, sizeof o.err);
    return o;
}

static void expect(const char *line, int code, const char *out, const char *err)
{
    struct outcome o = run(line);
    if (o.code != code)
        fail_msg("'%s' ends with %d, not %d: %s%s", line, o.code, code, o.out, o.err);
    if (out != NULL && strstr(o.out, out) == NULL)
        fail_msg("'%s' prints '%s' without '%s'", line, o.out, out);
    if (err != NULL && strstr(o.err, err) == NULL)
        fail_msg("'%s' says '%s' without '%s'", line, o.err, err);
    if (code == 0 && o.err[0] != '\0')
        fail_msg("'%s' succeeds but says '%s'", line, o.err);
    if (code != 0 && o.err[0] == '\0')
        fail_msg("'%s' fails without a word", line);
}

static void expect_in(const char *format, int code, const char *out, const char *err)
    __attribute__((format(printf, 1, 0)));

/* The same with every %s of the format replaced by the test directory. */
static void expect_in(const char *format, int code, const char *out, const char *err)
{
    char line[1024];
    snprintf(line, sizeof line, format, dir, dir, dir, dir);
    expect(line, code, out, err);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/foldfs-cli-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void help_and_version(void **state)
{
    (void)state;
    expect("foldfs --help", 0, "umount", NULL);
    expect("foldfs help", 0, "Verbs:", NULL);
    expect("foldfs help mount", 0, "commit=N", NULL);
    expect("/usr/bin/foldfs --version", 0, "foldfs " FOLD_VERSION, NULL);
    expect("foldfs version", 0, "foldfs " FOLD_VERSION, NULL);
    static const char *const verbs[] = {"mkfs", "mount", "umount", "stats", "sync", "gc"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(verbs); i++) {
        char line[64];
        snprintf(line, sizeof line, "foldfs %s --help", verbs[i]);
        expect(line, 0, "Usage: foldfs ", NULL);
        snprintf(line, sizeof line, "foldfs %s --frobnicate", verbs[i]);
        expect(line, FOLD_EXIT_USAGE, NULL, "unknown option '--frobnicate'");
        snprintf(line, sizeof line, "foldfs %s", verbs[i]);
        expect(line, FOLD_EXIT_USAGE, NULL, "missing operands");
        snprintf(line, sizeof line, "foldfs %s a b c", verbs[i]);
        expect(line, FOLD_EXIT_USAGE, NULL, "too many operands");
    }
}

static void kernels_are_listed(void **state)
{
    (void)state;
    expect("foldfs kernels", 0, "fingerprint", NULL);
    expect("foldfs kernels --json", 0, "\"name\": \"cdc\"", NULL);
    expect("foldfs kernels --json", 0, "\"rate\": null", NULL);
    expect("foldfs kernels cdc", FOLD_EXIT_USAGE, NULL, "too many operands");
    expect("foldfs kernels --fast", FOLD_EXIT_USAGE, NULL, "unknown option");
    setenv("FOLDFS_CPU", "scalar", 1);
    expect("foldfs kernels", 0, "cdc            scalar  *", NULL);
    setenv("FOLDFS_CPU", "", 1);
    expect("foldfs kernels", 0, "cdc", NULL);
    setenv("FOLDFS_CPU", "sse4.2", 1);
    expect("foldfs kernels", FOLD_EXIT_USAGE, NULL, "FOLDFS_CPU=sse4.2 is no level");
    expect("foldfs mkfs /nowhere/at/all", FOLD_EXIT_USAGE, NULL, "scalar, sse42, avx2 or avx512");
    expect("foldfs version", 0, "foldfs", NULL);
    unsetenv("FOLDFS_CPU");
}

static void wrong_words(void **state)
{
    (void)state;
    expect("foldfs", FOLD_EXIT_USAGE, NULL, "Usage");
    expect("foldfs frobnicate", FOLD_EXIT_USAGE, NULL, "no verb 'frobnicate'");
    expect("foldfs help frobnicate", FOLD_EXIT_USAGE, NULL, "no verb 'frobnicate'");
    expect("foldfs mkfs --chunk-size", FOLD_EXIT_USAGE, NULL, "needs a value");
    expect("foldfs stats --json=1 x", FOLD_EXIT_USAGE, NULL, "takes no value");
    expect("foldfs gc --full=1 x", FOLD_EXIT_USAGE, NULL, "takes no value");
    expect("foldfs mount -x a b", FOLD_EXIT_USAGE, NULL, "unknown option '-x'");
    expect("foldfs gc --full -xf a", FOLD_EXIT_USAGE, NULL, "unknown option '-x'");
    expect("foldfs mount -o frobnicate a b", FOLD_EXIT_USAGE, NULL,
           "unknown mount option 'frobnicate'");
    expect("foldfs umount --timeout soon x", FOLD_EXIT_USAGE, NULL,
           "'soon' is not a number of seconds");
    expect("foldfs umount --timeout 0 x", FOLD_EXIT_USAGE, NULL, "seconds");
}

static void mkfs_refuses_what_cannot_be(void **state)
{
    (void)state;
    expect_in("foldfs mkfs --chunk-size 5K %s/s", FOLD_EXIT_USAGE, NULL, "power of two");
    expect_in("foldfs mkfs --chunk-size 2K %s/s", FOLD_EXIT_USAGE, NULL, "4K to 1M");
    expect_in("foldfs mkfs --chunk-size 2M %s/s", FOLD_EXIT_USAGE, NULL, "4K to 1M");
    expect_in("foldfs mkfs --chunk-size 8G %s/s", FOLD_EXIT_USAGE, NULL, "4K to 1M");
    expect_in("foldfs mkfs --chunk-size big %s/s", FOLD_EXIT_USAGE, NULL, "'big' is not a size");
    expect_in("foldfs mkfs --chunker rolling %s/s", FOLD_EXIT_USAGE, NULL, "no chunker 'rolling'");
    expect_in("foldfs mkfs --hash md5 %s/s", FOLD_EXIT_USAGE, NULL, "no hash 'md5'");
    expect_in("foldfs mkfs --compress gzip %s/s", FOLD_EXIT_USAGE, NULL, "no compression 'gzip'");
    assert_int_equal(access(dir, F_OK), 0);
    expect_in("foldfs stats %s/s", FOLD_EXIT_STORE, NULL, "No such file");
}

static void mkfs_makes_a_store_once(void **state)
{
    (void)state;
    struct stat st;
    char path[128];
    expect_in("foldfs mkfs --chunk-size 8K --chunker fixed --hash sha256 --compress zstd %s/store",
              0, "fixed chunks of 8K, sha256 fingerprints, compression zstd", NULL);
    snprintf(path, sizeof path, "%s/store", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    expect_in("foldfs mkfs %s/store", FOLD_EXIT_STORE, NULL, "already holds a foldfs store");
    expect_in("foldfs mkfs %s", FOLD_EXIT_STORE, NULL, "choose an empty one");
    expect_in("mkfs.foldfs %s/second", 0,
              "content-defined chunks of 16K, xxh3 fingerprints, compression lz4", NULL);
    expect_in("foldfs stats %s/store", 0, "saved by dedup", NULL);
    expect_in("foldfs stats --json %s/store", 0, "\"logical_bytes\": 0", NULL);
    expect_in("foldfs sync %s/store", 0, NULL, NULL);
}

static void operands_are_checked_before_mounting(void **state)
{
    char path[128];
    (void)state;
    expect_in("foldfs mkfs %s/store", 0, NULL, NULL);
    snprintf(path, sizeof path, "%s/plain", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(path, sizeof path, "%s/mnt", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    expect_in("foldfs mount %s/none %s/mnt", FOLD_EXIT_MOUNT, NULL,
              "does not exist; create it with 'foldfs mkfs");
    expect_in("foldfs mount %s/mnt %s/mnt", FOLD_EXIT_MOUNT, NULL, "not a foldfs store");
    expect_in("foldfs mount %s/plain %s/mnt", FOLD_EXIT_MOUNT, NULL, "not a directory");
    expect_in("foldfs mount %s/store %s/none", FOLD_EXIT_MOUNT, NULL,
              "does not exist; create it with 'mkdir");
    expect_in("foldfs mount %s/store %s/plain", FOLD_EXIT_MOUNT, NULL, "is not a directory");
    expect_in("foldfs mount %s/store %s/store", FOLD_EXIT_MOUNT, NULL, "within each other");
    expect_in("foldfs mount %s/store %s", FOLD_EXIT_MOUNT, NULL, "within each other");
    expect_in("foldfs mount %s/store %s/store/segments", FOLD_EXIT_MOUNT, NULL,
              "within each other");
    expect_in("foldfs umount %s/mnt", FOLD_EXIT_MOUNT, NULL, "no foldfs is mounted");
    expect_in("foldfs umount %s/none", FOLD_EXIT_MOUNT, NULL, "no foldfs is mounted");
    expect_in("foldfs stats %s/mnt", FOLD_EXIT_STORE, NULL,
              "neither a foldfs mount point nor a store");
    expect_in("foldfs sync %s/mnt", FOLD_EXIT_STORE, NULL,
              "neither a foldfs mount point nor a store");
    expect_in("umount.fuse.foldfs %s/mnt -n", FOLD_EXIT_MOUNT, NULL, "no foldfs is mounted");
}

static void the_helper_of_mount_takes_its_options(void **state)
{
    char path[128];
    (void)state;
    expect_in("foldfs mkfs %s/store", 0, NULL, NULL);
    snprintf(path, sizeof path, "%s/mnt", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    expect_in("mount.foldfs %s/none %s/mnt -f", FOLD_EXIT_MOUNT, NULL, "does not exist");
    expect_in("mount.foldfs %s/store %s/mnt -o frob", FOLD_EXIT_USAGE, NULL,
              "unknown mount option 'frob'");
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        return;
    expect_in("mount.foldfs %s/store %s/mnt -f -o rw", 0, NULL, NULL);
    expect_in("/sbin/mount.foldfs %s/store %s/mnt -sfnv -t foldfs -o frob,ro", 0, NULL, NULL);
}

static void damaged_stores_are_named(void **state)
{
    char path[160];
    (void)state;
    expect_in("foldfs mkfs %s/store", 0, NULL, NULL);
    static const char *const copies[] = {"volume", "volume.bak"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(copies); i++) {
        snprintf(path, sizeof path, "%s/store/%s", dir, copies[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 24), 8);
        close(fd);
    }
    snprintf(path, sizeof path, "%s/mnt", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    expect_in("foldfs stats %s/store", FOLD_EXIT_STORE, NULL, "superblock is damaged");
    expect_in("foldfs mount %s/store %s/mnt", FOLD_EXIT_MOUNT, NULL, "superblock is damaged");
}

static void closed_output_is_a_failure(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t pid = fork();
    int status;
    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = {(char[]){"foldfs"}, (char[]){"--help"}, NULL};
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(full, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        _exit(fold_verbs_main(2, argv));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), FOLD_EXIT_SYSTEM);
}

static void mountinfo_escapes(void **state)
{
    static const char *const pairs[][2] = {
        {"/a\\040b", "/a b"},
        {"/a\\011\\012\\134", "/a\t\n\\"},
        {"plain", "plain"},
        {"\\04", "\\04"},
        {"\\098x", "\\098x"},
        {"end\\", "end\\"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(pairs); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", pairs[i][0]);
        fold_mounts_unescape(text);
        assert_string_equal(text, pairs[i][1]);
    }
}

static void paths_become_absolute(void **state)
{
    char *got = NULL;
    char want[128];
    (void)state;
    assert_int_equal(chdir(dir), 0);
    static const char *const names[] = {"new", "./new", "new/", "new///", "../%s/new"};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(names); i++) {
        char name[128];
        if (strchr(names[i], '%') != NULL)
            snprintf(name, sizeof name, "../%s/new", strrchr(dir, '/') + 1);
        else
            snprintf(name, sizeof name, "%s", names[i]);
        assert_int_equal(fold_path_absolute(name, &got), 0);
        snprintf(want, sizeof want, "%s/new", dir);
        assert_string_equal(got, want);
        free(got);
    }
    assert_int_equal(fold_path_absolute(".", &got), 0);
    assert_string_equal(got, dir);
    free(got);
    assert_int_equal(fold_path_absolute("/", &got), 0);
    assert_string_equal(got, "/");
    free(got);
    assert_int_equal(fold_path_absolute("/tmp", &got), 0);
    assert_string_equal(got, "/tmp");
    free(got);
    assert_int_equal(fold_path_absolute("", &got), -ENOENT);
    assert_int_equal(fold_path_absolute("none/x", &got), -ENOENT);
    assert_int_equal(chdir("/"), 0);
}

static void paths_within_paths(void **state)
{
    (void)state;
    assert_true(fold_path_within("/a/b", "/a"));
    assert_true(fold_path_within("/a", "/a"));
    assert_true(fold_path_within("/a", "/"));
    assert_false(fold_path_within("/ab", "/a"));
    assert_false(fold_path_within("/a", "/a/b"));
}

static int returns(void *arg)
{
    return *(const int *)arg;
}

static int sleeps(void *arg)
{
    (void)arg;
    pause();
    return 0;
}

static int dies(void *arg)
{
    (void)arg;
    kill(getpid(), SIGKILL);
    return 0;
}

static void waiting_has_an_end(void **state)
{
    int ok = 0;
    int bad = -EBUSY;
    (void)state;
    int rc = fold_patient_call(returns, &ok, 10, NULL, NULL);
    if (rc == -ENOSYS)
        skip(); /* valgrind of 2022 knows no descriptors of processes */
    assert_int_equal(rc, 0);
    assert_int_equal(fold_patient_call(returns, &bad, 10, NULL, NULL), -EBUSY);
    assert_int_equal(fold_patient_call(dies, NULL, 10, NULL, NULL), -EINTR);
    time_t start = time(NULL);
    assert_int_equal(fold_patient_call(sleeps, NULL, 1, NULL, NULL), -ETIMEDOUT);
    assert_true(time(NULL) - start < 8);
    assert_int_equal(fold_patient_probe("/proc", 10), -ENODEV);
    assert_int_equal(fold_patient_probe("/none/such", 10), -ENOENT);
}

#define in_dir(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_version),
        cmocka_unit_test(kernels_are_listed),
        cmocka_unit_test(wrong_words),
        in_dir(mkfs_refuses_what_cannot_be),
        in_dir(mkfs_makes_a_store_once),
        in_dir(operands_are_checked_before_mounting),
        in_dir(the_helper_of_mount_takes_its_options),
        in_dir(damaged_stores_are_named),
        cmocka_unit_test(closed_output_is_a_failure),
        cmocka_unit_test(mountinfo_escapes),
        in_dir(paths_become_absolute),
        cmocka_unit_test(paths_within_paths),
        cmocka_unit_test(waiting_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
