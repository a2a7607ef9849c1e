/* SPDX-License-Identifier: MIT */
/*
 * Capabilities of other processes: a child that has them all, drops one, enters a user namespace of
 * its own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/capability.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int drop(unsigned cap)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0)
        return -1;
    data[cap / 32].effective &= ~(1u << (cap % 32));
    return (int)syscall(SYS_capset, &header, data);
}

static int drop_fsetid(void)
{
    return drop(CAP_FSETID);
}

static int enter_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

static int stay(void)
{
    return 0;
}

/* What is held by a child after `change`; -1000 if it could not change. */
static int held_after(int (*change)(void), unsigned cap)
{
    int up[2], down[2];
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    char c = 0;
    if (pid == 0) {
        c = change() == 0 ? 'y' : 'n';
        close(down[1]);
        if (write(up[1], &c, 1) == 1)
            (void)!read(down[0], &c, 1);
        _exit(0);
    }
    assert_int_equal(read(up[0], &c, 1), 1);
    int held = c == 'y' ? fold_capability_held(pid, cap) : -1000;
    close(down[0]);
    close(down[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(up[0]);
    close(up[1]);
    return held;
}

static void test_root(void **state)
{
    (void)state;
    if (geteuid() != 0 || held_after(stay, CAP_FSETID) != 1)
        skip();
    assert_int_equal(held_after(drop_fsetid, CAP_FSETID), 0);
    assert_int_equal(held_after(drop_fsetid, CAP_SETGID), 1);
    int inside = held_after(enter_namespace, CAP_FSETID);
    assert_true(inside == 0 || inside == -1000); /* the system may forbid namespaces */
}

static void test_no_such_thing(void **state)
{
    (void)state;
    assert_int_equal(fold_capability_held(getpid(), 63), 0);
    assert_int_equal(fold_capability_held(getpid(), 64), 0);
    assert_int_equal(fold_capability_held(0, CAP_FSETID), -ESRCH);
    assert_int_equal(fold_capability_held(INT32_MAX, CAP_FSETID), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_no_such_thing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
