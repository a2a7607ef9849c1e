/* SPDX-License-Identifier: MIT */
/*
 * The control socket with its real client: results, errors, progress, long paths, bad requests,
 * clients that leave, many at once, stopping under load.
 */
#include "fs/control.h"

#include "fs/cli/client.h"
#include "fs/endpoint.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

struct fixture {
    char dir[4096];
    int fd;
    struct fold_control *control;
    atomic_int entered;
    atomic_int cancelled;
};

static int echo(void *session, json_t *args, struct fold_control_reply *reply)
{
    (void)session;
    fold_control_result(reply, json_incref(args));
    return 0;
}

static int empty(void *session, json_t *args, struct fold_control_reply *reply)
{
    (void)session;
    (void)args;
    (void)reply;
    return 0;
}

static int fails(void *session, json_t *args, struct fold_control_reply *reply)
{
    (void)session;
    fold_control_result(reply, json_string("not to be seen"));
    return (int)json_integer_value(json_object_get(args, "code"));
}

static int counts(void *session, json_t *args, struct fold_control_reply *reply)
{
    (void)session;
    json_int_t n = json_integer_value(json_object_get(args, "n"));
    for (json_int_t i = 0; i < n; i++) {
        int rc = fold_control_progress(reply, json_pack("{s:I}", "done", i));
        if (rc != 0)
            return rc;
    }
    fold_control_result(reply, json_integer(n));
    return 0;
}

/* Works until told to end. */
static int lingers(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fixture *f = session;
    (void)args;
    atomic_fetch_add(&f->entered, 1);
    while (!fold_control_cancelled(reply))
        poll(NULL, 0, 2);
    atomic_fetch_add(&f->cancelled, 1);
    return -ECANCELED;
}

/* Tells how far it is until nobody can be told; then it must be asked to end. */
static int tells(void *session, json_t *args, struct fold_control_reply *reply)
{
    struct fixture *f = session;
    (void)args;
    while (fold_control_progress(reply, json_pack("{s:i}", "done", 1)) == 0)
        poll(NULL, 0, 1);
    if (fold_control_cancelled(reply) &&
        fold_control_progress(reply, json_pack("{s:i}", "done", 2)) == -EPIPE)
        atomic_fetch_add(&f->cancelled, 1);
    return 0;
}

static const struct fold_control_verb verbs[] = {
    {"echo", echo, false},     {"empty", empty, true},      {"fails", fails, false},
    {"counts", counts, false}, {"lingers", lingers, false}, {"tells", tells, false},
};

static struct fixture *open_fixture(const char *below)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "%s", "/tmp/foldfs-control-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    if (below != NULL) {
        snprintf(f->dir + strlen(f->dir), 512, "/%s", below);
        assert_int_equal(mkdir(f->dir, 0700), 0);
    }
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->fd >= 0);
    assert_int_equal(fold_control_start(f->fd, verbs, FOLD_ARRAY_LEN(verbs), f, &f->control), 0);
    return f;
}

static int setup(void **state)
{
    *state = open_fixture(NULL);
    return 0;
}

static void close_fixture(struct fixture *f)
{
    fold_control_stop(f->control);
    assert_int_equal(faccessat(f->fd, "run/control", F_OK, 0), -1);
    assert_int_equal(unlinkat(f->fd, "run", AT_REMOVEDIR), 0);
    close(f->fd);
    while (strcmp(f->dir, "/tmp") != 0) {
        assert_int_equal(rmdir(f->dir), 0);
        *strrchr(f->dir, '/') = '\0';
    }
    free(f);
}

static int teardown(void **state)
{
    close_fixture(*state);
    return 0;
}

static int call(const struct fixture *f, const char *verb, json_t *args, json_t **result, char *why)
{
    FOLD_AUTO(close) int fd = fold_endpoint_connect_store(f->fd);
    assert_true(fd >= 0);
    return fold_client_call(fd, verb, args, 30, NULL, NULL, result, why, 256);
}

static void results_come_back(void **state)
{
    json_t *result = NULL;
    char why[256];
    assert_int_equal(
        call(*state, "echo", json_pack("{s:i,s:s}", "a", 1, "b", "\xc3\xa9\n"), &result, why), 0);
    assert_int_equal(json_integer_value(json_object_get(result, "a")), 1);
    assert_string_equal(json_string_value(json_object_get(result, "b")), "\xc3\xa9\n");
    json_decref(result);
    assert_int_equal(call(*state, "echo", NULL, &result, why), 0);
    assert_int_equal(json_object_size(result), 0);
    json_decref(result);
    assert_int_equal(call(*state, "empty", NULL, &result, why), 0);
    assert_true(json_is_null(result));
    json_decref(result);
}

static void errors_come_back(void **state)
{
    char why[256];
    json_t *result = NULL;
    assert_int_equal(call(*state, "fails", json_pack("{s:i}", "code", -FOLD_E_SICK), &result, why),
                     -FOLD_E_SICK);
    assert_string_equal(why, fold_err_text(FOLD_E_SICK));
    assert_int_equal(call(*state, "fails", json_pack("{s:i}", "code", -ENOSPC), &result, why),
                     -ENOSPC);
    assert_int_equal(call(*state, "frobnicate", NULL, &result, why), -ENOSYS);
    assert_null(result);
}

static void note(void *arg, const json_t *progress)
{
    int *seen = arg;
    assert_int_equal(json_integer_value(json_object_get(progress, "done")), *seen);
    (*seen)++;
}

static void progress_is_ordered_and_complete(void **state)
{
    const struct fixture *f = *state;
    json_t *result = NULL;
    char why[256];
    int seen = 0;
    FOLD_AUTO(close) int fd = fold_endpoint_connect_store(f->fd);
    assert_int_equal(fold_client_call(fd, "counts", json_pack("{s:i}", "n", 5000), 30, note, &seen,
                                      &result, why, sizeof why),
                     0);
    assert_int_equal(seen, 5000);
    assert_int_equal(json_integer_value(result), 5000);
    json_decref(result);
}

static void large_answers_pass(void **state)
{
    json_t *result = NULL;
    char why[256];
    FOLD_AUTO(free) char *text = malloc(60001);
    assert_non_null(text);
    memset(text, 'x', 60000);
    text[60000] = '\0';
    assert_int_equal(call(*state, "echo", json_pack("{s:s}", "t", text), &result, why), 0);
    assert_string_equal(json_string_value(json_object_get(result, "t")), text);
    json_decref(result);
}

/* Sends raw bytes and returns what comes back as one string. */
static void raw(const struct fixture *f, const char *text, size_t len, char *answer, size_t size)
{
    FOLD_AUTO(close) int fd = fold_endpoint_connect_store(f->fd);
    size_t used = 0;
    assert_true(fd >= 0);
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0)
            break;
        text += n;
        len -= (size_t)n;
    }
    for (ssize_t n; used < size - 1 && (n = recv(fd, answer + used, size - 1 - used, 0)) > 0;)
        used += (size_t)n;
    answer[used] = '\0';
}

static void bad_requests_are_refused(void **state)
{
    static const char *const bad[] = {
        "\n",
        "{}\n",
        "[]\n",
        "{\"verb\": 3}\n",
        "{\"verb\": \"echo\", \"args\": []}\n",
        "{\"verb\": \"echo\"\n",
        "\"echo\"\n",
        "\xff\xfe\n",
    };
    char answer[512];
    for (size_t i = 0; i < FOLD_ARRAY_LEN(bad); i++) {
        raw(*state, bad[i], strlen(bad[i]), answer, sizeof answer);
        if (strstr(answer, "\"ok\":false") == NULL)
            fail_msg("request %zu answered by '%s'", i, answer);
    }
}

static void endless_requests_are_refused(void **state)
{
    const size_t len = 70000;
    FOLD_AUTO(free) char *text = malloc(len);
    char answer[512];
    assert_non_null(text);
    memset(text, ' ', len);
    raw(*state, text, len, answer, sizeof answer);
    assert_null(strstr(answer, "\"ok\":true"));
}

static void the_socket_is_private(void **state)
{
    const struct fixture *f = *state;
    struct stat st;
    assert_int_equal(fstatat(f->fd, "run/control", &st, 0), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fstatat(f->fd, "run", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void a_live_socket_is_not_taken(void **state)
{
    const struct fixture *f = *state;
    struct fold_control *second = NULL;
    assert_int_equal(fold_control_start(f->fd, verbs, FOLD_ARRAY_LEN(verbs), NULL, &second),
                     -EADDRINUSE);
    assert_null(second);
}

static void a_dead_socket_is_replaced(void **state)
{
    struct fixture *f = *state;
    json_t *result = NULL;
    char why[256];
    fold_control_stop(f->control);
    assert_int_equal(fold_endpoint_connect_store(f->fd), -ENOENT);
    FOLD_AUTO(close) int dead = openat(f->fd, "run/control", O_CREAT | O_WRONLY, 0600);
    assert_true(dead >= 0);
    assert_int_equal(fold_endpoint_connect_store(f->fd), -ECONNREFUSED);
    assert_int_equal(fold_control_start(f->fd, verbs, FOLD_ARRAY_LEN(verbs), f, &f->control), 0);
    assert_int_equal(call(f, "empty", NULL, &result, why), 0);
    json_decref(result);
}

static void long_paths_work(void **state)
{
    char name[201];
    json_t *result = NULL;
    char why[256];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct fixture *f = open_fixture(name);
    assert_int_equal(call(f, "empty", NULL, &result, why), 0);
    json_decref(result);
    close_fixture(f);
}

static void wait_for(atomic_int *value, int want)
{
    for (int i = 0; i < 5000 && atomic_load(value) != want; i++)
        poll(NULL, 0, 2);
    assert_int_equal(atomic_load(value), want);
}

static int start_lingering(const struct fixture *f)
{
    static const char request[] = "{\"verb\":\"lingers\"}\n";
    int fd = fold_endpoint_connect_store(f->fd);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    return fd;
}

static void long_requests_do_not_block_others(void **state)
{
    struct fixture *f = *state;
    json_t *result = NULL;
    char why[256];
    int fd = start_lingering(f);
    wait_for(&f->entered, 1);
    assert_int_equal(call(f, "empty", NULL, &result, why), 0);
    json_decref(result);
    close(fd); /* the handler notices that nobody waits any more */
    wait_for(&f->cancelled, 1);
}

static void a_client_that_does_not_read_is_given_up(void **state)
{
    static const char request[] = "{\"verb\":\"tells\"}\n";
    struct fixture *f = *state;
    FOLD_AUTO(close) int fd = fold_endpoint_connect_store(f->fd);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    assert_int_equal(shutdown(fd, SHUT_RD), 0);
    wait_for(&f->cancelled, 1);
}

static void more_clients_than_threads_are_served(void **state)
{
    struct fixture *f = *state;
    int fd[20];
    for (int i = 0; i < 20; i++)
        fd[i] = start_lingering(f);
    wait_for(&f->entered, 8);
    for (int i = 0; i < 20; i++)
        close(fd[i]);
    wait_for(&f->cancelled, 20);
    assert_int_equal(atomic_load(&f->entered), 20);
}

static void stop_ends_running_requests(void **state)
{
    struct fixture *f = *state;
    int fd[3];
    for (int i = 0; i < 3; i++)
        fd[i] = start_lingering(f);
    wait_for(&f->entered, 3);
    fold_control_stop(f->control);
    assert_int_equal(atomic_load(&f->cancelled), 3);
    for (int i = 0; i < 3; i++) {
        char answer[256];
        ssize_t n = recv(fd[i], answer, sizeof answer - 1, 0);
        assert_true(n > 0);
        answer[n] = '\0';
        assert_non_null(strstr(answer, "\"ok\":false"));
        close(fd[i]);
    }
    assert_int_equal(fold_control_start(f->fd, verbs, FOLD_ARRAY_LEN(verbs), f, &f->control), 0);
}

/* A device number that no filesystem has. */
static dev_t no_device(void)
{
    return makedev(4095, (unsigned)getpid() & 0xfffffu);
}

static int call_mount(dev_t dev, const char *verb, json_t **result)
{
    char why[256];
    FOLD_AUTO(close) int fd = fold_endpoint_connect_mount(dev, geteuid());
    assert_true(fd >= 0);
    return fold_client_call(fd, verb, NULL, 30, NULL, NULL, result, why, sizeof why);
}

static void the_mount_is_another_door(void **state)
{
    struct fixture *f = *state;
    json_t *result = NULL;
    char why[256];
    const dev_t dev = no_device();
    assert_int_equal(fold_endpoint_connect_mount(dev, geteuid()), -ENOENT);
    assert_int_equal(fold_control_serve_mount(f->control, dev), 0);
    assert_int_equal(call_mount(dev, "echo", &result), 0);
    json_decref(result);
    assert_int_equal(call(f, "echo", NULL, &result, why), 0);
    json_decref(result);
    assert_int_equal(fold_endpoint_connect_mount(dev + 1, geteuid()), -ENOENT);
    /* 4095:1 begins like 4095:12, and is another. */
    assert_int_equal(fold_endpoint_connect_mount(makedev(4095, minor(dev) / 10), geteuid()),
                     -ENOENT);
}

static void the_peer_is_known(void **state)
{
    struct fixture *f = *state;
    pid_t pid;
    int pidfd;
    assert_int_equal(fold_control_serve_mount(f->control, no_device()), 0);
    FOLD_AUTO(close) int fd = fold_endpoint_connect_mount(no_device(), geteuid());
    assert_true(fd >= 0);
    fold_endpoint_peer(fd, &pid, &pidfd);
    assert_int_equal(pid, getpid());
    assert_true(pidfd >= 0);
    close(pidfd);
}

static void a_mount_needs_no_store(void **state)
{
    struct fold_control *c;
    json_t *result = NULL;
    (void)state;
    assert_int_equal(fold_control_start(-1, verbs, FOLD_ARRAY_LEN(verbs), NULL, &c), 0);
    assert_int_equal(fold_control_serve_mount(c, no_device()), 0);
    assert_int_equal(call_mount(no_device(), "empty", &result), 0);
    json_decref(result);
    fold_control_stop(c);
    assert_int_equal(fold_endpoint_connect_mount(no_device(), geteuid()), -ENOENT);
}

/* Somebody else listens on names that look right, and lets nobody in. */
static void strangers_are_not_believed(void **state)
{
    struct fixture *f = *state;
    json_t *result = NULL;
    const dev_t dev = no_device();
    int stranger[3], waiting[64];
    size_t n = 0;
    if (geteuid() != 0)
        skip();
    assert_int_equal(seteuid(65534), 0);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(stranger); i++) {
        stranger[i] = fold_endpoint_listen_mount(dev);
        assert_true(stranger[i] >= 0);
    }
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(fold_endpoint_connect_mount(dev, 0), -ENOENT);
    for (; n < FOLD_ARRAY_LEN(waiting); n++) { /* until their queues are full */
        waiting[n] = fold_endpoint_connect_mount(dev, 65534);
        if (waiting[n] < 0)
            break;
    }
    assert_true(n > 0 && n < FOLD_ARRAY_LEN(waiting));
    assert_int_equal(waiting[n], -EAGAIN);
    assert_int_equal(fold_control_serve_mount(f->control, dev), 0);
    assert_int_equal(call_mount(dev, "echo", &result), 0);
    json_decref(result);
    while (n > 0)
        close(waiting[--n]);
    for (size_t i = 0; i < FOLD_ARRAY_LEN(stranger); i++)
        close(stranger[i]);
}

/* In a process of another user: asks in vain, then keeps as many connections as it can, until told
 * to go by `go`. Returns 0 if all was as it should be. */
static int be_a_stranger(dev_t dev, int ready, int go)
{
    char why[256], byte = 0;
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
        return 1;
    for (int i = 0; i < 300; i++) {
        int fd = fold_endpoint_connect_mount(dev, 0);
        if (fd == -EAGAIN)
            continue; /* too fast for the other side */
        if (fd < 0 ||
            fold_client_call(fd, "echo", NULL, 30, NULL, NULL, NULL, why, sizeof why) != -EACCES)
            return 2;
        close(fd);
    }
    for (int i = 0; i < 20; i++)
        (void)!fold_endpoint_connect_mount(dev, 0);
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
        return 3;
    return 0;
}

/* Whoever may not ask is told so, and keeps nobody else from asking. */
static void strangers_are_sent_away(void **state)
{
    struct fixture *f = *state;
    json_t *result = NULL;
    char why[256], byte;
    int ready[2], go[2], status = 0;
    if (geteuid() != 0)
        skip();
    assert_int_equal(fold_control_serve_mount(f->control, no_device()), 0);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    dev_t dev = no_device();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        _exit(be_a_stranger(dev, ready[1], go[0]));
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    uint64_t before = fold_clock_ms();
    assert_int_equal(call(f, "echo", NULL, &result, why), 0);
    json_decref(result);
    assert_int_equal(call_mount(dev, "echo", &result), 0);
    json_decref(result);
    assert_true(fold_clock_ms() - before < 3000);
    close(go[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ready[0]);
}

static void closing_answers_what_goes_on_to_the_end(void **state)
{
    struct fixture *f = *state;
    json_t *result = NULL;
    char why[256];
    int fd = start_lingering(f);
    wait_for(&f->entered, 1);
    fold_control_quiesce(f->control);
    assert_int_equal(atomic_load(&f->cancelled), 1);
    assert_int_equal(call(f, "empty", NULL, &result, why), 0);
    assert_int_equal(call(f, "echo", NULL, &result, why), -ESHUTDOWN);
    close(fd);
}

static void closing_does_not_wait_for_a_client_that_does_not_read(void **state)
{
    static const char request[] = "{\"verb\":\"tells\"}\n";
    struct fixture *f = *state;
    FOLD_AUTO(close) int fd = fold_endpoint_connect_store(f->fd);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    poll(NULL, 0, 1500); /* its buffer is full by then */
    uint64_t before = fold_clock_ms();
    fold_control_quiesce(f->control);
    assert_true(fold_clock_ms() - before < 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(results_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(progress_is_ordered_and_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(large_answers_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(endless_requests_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_socket_is_private, setup, teardown),
        cmocka_unit_test_setup_teardown(a_live_socket_is_not_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_socket_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(long_requests_do_not_block_others, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(more_clients_than_threads_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_ends_running_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mount_is_another_door, setup, teardown),
        cmocka_unit_test_setup_teardown(the_peer_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_are_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_are_sent_away, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_answers_what_goes_on_to_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_does_not_wait_for_a_client_that_does_not_read,
                                        setup, teardown),
        cmocka_unit_test(a_mount_needs_no_store),
        cmocka_unit_test(long_paths_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
