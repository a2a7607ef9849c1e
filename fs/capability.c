/* SPDX-License-Identifier: MIT */
/*
 * Reads /proc/PID/status and compares user namespaces by the identity of /proc/PID/ns/user.
 */
#include "fs/capability.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* 1 if the process lives in our user namespace, 0 if in another, -errno. */
static int is_neighbour(pid_t pid)
{
    char path[64];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%ld/ns/user", (long)pid);
    if (stat("/proc/self/ns/user", &ours) != 0 || stat(path, &theirs) != 0)
        return -errno;
    return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* The set of effective capabilities. -errno, -EINVAL if the kernel does not state it. */
static int effective(pid_t pid, uint64_t *set)
{
    static const char key[] = "CapEff:";
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return -errno;
    int rc = -EINVAL;
    while (rc != 0 && fgets(line, sizeof line, in) != NULL) {
        if (strncmp(line, key, sizeof key - 1) != 0)
            continue;
        *set = strtoull(line + sizeof key - 1, NULL, 16);
        rc = 0;
    }
    fclose(in);
    return rc;
}

int fold_capability_held(pid_t pid, unsigned cap)
{
    uint64_t set = 0;
    int rc = pid > 0 ? effective(pid, &set) : -ESRCH;
    if (rc < 0)
        return rc;
    return cap < 64 && ((set >> cap) & 1) != 0 ? is_neighbour(pid) : 0;
}
