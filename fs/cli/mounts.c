/* SPDX-License-Identifier: MIT */
/*
 * Reading /proc/PID/mountinfo: finds the mounts of type fuse.foldfs.
 */
#include "fs/cli/mounts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

static const char mount_type[] = "fuse.foldfs";

void fold_mount_free(struct fold_mount *m)
{
    free(m->point);
    free(m->store);
    free(m->dev);
    *m = (struct fold_mount){.point = NULL};
}

static bool octal(char c)
{
    return c >= '0' && c <= '7';
}

void fold_mounts_unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p != '\0';) {
        if (p[0] == '\\' && octal(p[1]) && octal(p[2]) && octal(p[3])) {
            *to++ = (char)(((p[1] - '0') << 6) | ((p[2] - '0') << 3) | (p[3] - '0'));
            p += 4;
        } else {
            *to++ = *p++;
        }
    }
    *to = '\0';
}

/*
 * Splits one line: ID PARENT DEV ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER. Returns true and
 * the parts (in the line, unescaped) if it is a whole foldfs mount, not a bind mount of a part of
 * one.
 */
static bool split(char *line, char **point, char **source, char **dev, bool *read_only)
{
    char *field[6];
    for (unsigned i = 0; i < 6; i++) {
        field[i] = strsep(&line, " \n");
        if (field[i] == NULL)
            return false;
    }
    char *word = strsep(&line, " \n");
    while (word != NULL && strcmp(word, "-") != 0)
        word = strsep(&line, " \n");
    char *type = strsep(&line, " \n");
    *source = strsep(&line, " \n");
    const char *options = strsep(&line, " \n");
    if (word == NULL || type == NULL || *source == NULL || options == NULL)
        return false;
    if (strcmp(type, mount_type) != 0 || strcmp(field[3], "/") != 0)
        return false;
    *dev = field[2];
    *point = field[4];
    *read_only = strncmp(options, "ro", 2) == 0 && (options[2] == ',' || options[2] == '\0');
    fold_mounts_unescape(*point);
    fold_mounts_unescape(*source);
    return true;
}

/* The last mount whose point (or store, if `by_store`) is `want`: later lines lie on top of earlier
 * ones. */
static int search(const char *want, bool by_store, struct fold_mount *out)
{
    FILE *in = fopen("/proc/self/mountinfo", "re");
    if (in == NULL)
        return -errno;
    char *line = NULL;
    size_t size = 0;
    int rc = -ENOENT;
    while (getline(&line, &size, in) > 0) {
        char *point;
        char *source;
        char *dev;
        bool read_only;
        if (!split(line, &point, &source, &dev, &read_only) ||
            strcmp(by_store ? source : point, want) != 0)
            continue;
        struct fold_mount found = {strdup(point), strdup(source), strdup(dev), read_only};
        if (found.point == NULL || found.store == NULL || found.dev == NULL) {
            fold_mount_free(&found);
            rc = -ENOMEM;
            break;
        }
        if (rc == 0)
            fold_mount_free(out);
        *out = found;
        rc = 0;
    }
    free(line);
    fclose(in);
    return rc;
}

/* Whether the mountinfo `path` of some process shows this filesystem. */
static bool shows(const char *path, const struct fold_mount *m)
{
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return false;
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, in) > 0) {
        char *point;
        char *source;
        char *dev;
        bool read_only;
        found = split(line, &point, &source, &dev, &read_only) && strcmp(dev, m->dev) == 0 &&
                strcmp(source, m->store) == 0;
    }
    free(line);
    fclose(in);
    return found;
}

pid_t fold_mounts_holder(const struct fold_mount *m)
{
    DIR *proc = opendir("/proc");
    pid_t holder = 0;
    for (struct dirent *e; proc != NULL && holder == 0 && (e = readdir(proc)) != NULL;) {
        char path[64];
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end != '\0' || pid <= 0)
            continue;
        (void)snprintf(path, sizeof path, "/proc/%ld/mountinfo", pid);
        if (shows(path, m))
            holder = (pid_t)pid;
    }
    if (proc != NULL)
        closedir(proc);
    return holder;
}

int fold_path_absolute(const char *path, char **out)
{
    FOLD_AUTO(free) char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    size_t len = strlen(copy);
    if (len == 0)
        return -ENOENT;
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    char *slash = strrchr(copy, '/');
    const char *base = slash != NULL ? slash + 1 : copy;
    if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        char *whole = realpath(path, NULL);
        if (whole == NULL)
            return -errno;
        *out = whole;
        return 0;
    }
    const char *dir = ".";
    if (slash != NULL) {
        *slash = '\0';
        dir = slash == copy ? "/" : copy;
    }
    FOLD_AUTO(free) char *parent = realpath(dir, NULL);
    if (parent == NULL)
        return -errno;
    char *joined;
    if (asprintf(&joined, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base) < 0)
        return -ENOMEM;
    *out = joined;
    return 0;
}

int fold_mounts_at(const char *path, struct fold_mount *out)
{
    FOLD_AUTO(free) char *absolute = NULL;
    int rc = fold_path_absolute(path, &absolute);
    if (rc != 0)
        return rc;
    rc = search(absolute, false, out);
    if (rc != -ENOENT)
        return rc;
    /* No mount by that name: then it is safe to follow it, should it be a symbolic link. */
    FOLD_AUTO(free) char *resolved = realpath(absolute, NULL);
    if (resolved == NULL || strcmp(resolved, absolute) == 0)
        return -ENOENT;
    return search(resolved, false, out);
}

int fold_mounts_of(const char *store, struct fold_mount *out)
{
    return search(store, true, out);
}

bool fold_path_within(const char *inner, const char *outer)
{
    size_t len = strlen(outer);
    if (strcmp(outer, "/") == 0)
        return true;
    return strncmp(inner, outer, len) == 0 && (inner[len] == '\0' || inner[len] == '/');
}
