/* SPDX-License-Identifier: MIT */
/*
 * Lists a directory, then goes back to every place it was told, in random order, and must read the
 * same entry there. Usage: dirseek DIRECTORY; prints the names it listed. Built by the test, for
 * programs of 32 bits too, with and without large files.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    long at; /* where the entry was read */
    char name[256];
} * entries;

static size_t count;

static void die(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void list(DIR *dir)
{
    size_t cap = 0;
    for (;;) {
        long at = telldir(dir);
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (d == NULL && errno != 0)
            die("readdir");
        if (d == NULL)
            return;
        if (count == cap) {
            cap = cap * 2 + 1000;
            entries = realloc(entries, cap * sizeof *entries);
            if (entries == NULL)
                die("realloc");
        }
        entries[count].at = at;
        (void)snprintf(entries[count++].name, sizeof entries->name, "%s", d->d_name);
        (void)puts(d->d_name);
    }
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL)
        die("opendir");
    list(dir);
    for (size_t n = 0; n < 500; n++) {
        size_t i = (size_t)rand() % count;
        seekdir(dir, entries[i].at);
        const struct dirent *d = readdir(dir);
        if (d == NULL || strcmp(d->d_name, entries[i].name) != 0) {
            (void)fprintf(stderr, "at %ld: '%s' instead of '%s'\n", entries[i].at,
                          d == NULL ? "(end)" : d->d_name, entries[i].name);
            return 1;
        }
    }
    return closedir(dir) != 0;
}
