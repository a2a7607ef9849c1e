/* SPDX-License-Identifier: MIT */
/*
 * Reading mountinfo files: finds the mounts of type fuse.foldfs.
 */
#include "fs/cli/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

static const char mount_type[] = "fuse.foldfs";

void fold_mount_free(struct fold_mount *m)
{
    free(m->point);
    free(m->store);
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

/* One line: ID PARENT DEV ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER. */
struct line {
    char *dev, *root, *point, *options, *type, *source, *super;
};

/* Splits it in place; names are unescaped. */
static bool split(char *text, struct line *l)
{
    char *field[6];
    for (unsigned i = 0; i < 6; i++) {
        field[i] = strsep(&text, " \n");
        if (field[i] == NULL)
            return false;
    }
    const char *word = strsep(&text, " \n");
    while (word != NULL && strcmp(word, "-") != 0)
        word = strsep(&text, " \n");
    *l = (struct line){.dev = field[2], .root = field[3], .point = field[4], .options = field[5]};
    l->type = strsep(&text, " \n");
    l->source = strsep(&text, " \n");
    l->super = strsep(&text, " \n");
    if (l->super == NULL)
        return false;
    fold_mounts_unescape(l->point);
    fold_mounts_unescape(l->source);
    return true;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p += len)
        if ((p == list || p[-1] == ',') && (p[len] == ',' || p[len] == '\0'))
            return true;
    return false;
}

static dev_t dev_of(const struct line *l)
{
    unsigned high, low;
    return sscanf(l->dev, "%u:%u", &high, &low) == 2 ? makedev(high, low) : 0;
}

static uid_t owner_of(const struct line *l)
{
    static const char key[] = "user_id=";
    const char *at = strstr(l->super, key);
    return at != NULL ? (uid_t)strtoul(at + sizeof key - 1, NULL, 10) : 0;
}

/* A whole foldfs mount, not a bind mount of a part of one. */
static bool is_foldfs(const struct line *l)
{
    return strcmp(l->type, mount_type) == 0 && strcmp(l->root, "/") == 0;
}

/* The last mount whose point (or store, if `by_store`) is `want`: later lines lie on top of earlier
 * ones. */
static int search(const char *want, bool by_store, struct fold_mount *out)
{
    FILE *in = fopen("/proc/self/mountinfo", "re");
    if (in == NULL)
        return -errno;
    char *text = NULL;
    size_t size = 0;
    int rc = -ENOENT;
    while (getline(&text, &size, in) > 0) {
        struct line l;
        if (!split(text, &l) || !is_foldfs(&l) || strcmp(by_store ? l.source : l.point, want) != 0)
            continue;
        struct fold_mount found = {.point = strdup(l.point),
                                   .store = strdup(l.source),
                                   .dev = dev_of(&l),
                                   .owner = owner_of(&l),
                                   .read_only = has_word(l.options, "ro")};
        if (found.point == NULL || found.store == NULL) {
            fold_mount_free(&found);
            rc = -ENOMEM;
            break;
        }
        if (rc == 0)
            fold_mount_free(out);
        *out = found;
        rc = 0;
    }
    free(text);
    fclose(in);
    return rc;
}

int fold_mounts_place(int dirfd, const char *path, dev_t dev, char **point)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (in == NULL) {
        int rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    char *text = NULL;
    size_t size = 0;
    int rc = -ENOENT;
    while (rc == -ENOENT && getline(&text, &size, in) > 0) {
        struct line l;
        if (!split(text, &l) || dev_of(&l) != dev)
            continue;
        *point = strdup(l.point);
        rc = *point != NULL ? 0 : -ENOMEM;
    }
    free(text);
    fclose(in);
    return rc;
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
