/* SPDX-License-Identifier: MIT */
/*
 * foldfs du: what files and directories of a live mount really take. Paths become inode numbers
 * here; the daemon does the measuring.
 */
#include "fs/cli/verbs.h"

#include "fs/cli/client.h"
#include "meta/base/err.h"
#include "meta/base/say.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#define PATHS_MAX 65536

static const struct fold_cli_option options[] = {
    {'b', "bytes", NULL, "print exact numbers of bytes"},
    {'j', "json", NULL, "print a JSON object"},
    {0, NULL, NULL, NULL},
};

static const char *const columns[] = {"logical_bytes", "stored_bytes", "unique_bytes",
                                      "shared_bytes"};

static void print_bytes(json_int_t n, bool exact)
{
    static const char units[] = "BKMGTPE";
    double v = (double)n;
    unsigned unit = 0;
    while (v >= 1024 && unit + 1 < sizeof units - 1) {
        v /= 1024;
        unit++;
    }
    if (exact)
        printf("%14" JSON_INTEGER_FORMAT " ", n);
    else if (unit == 0)
        printf("%7.0f%c ", v, units[unit]);
    else
        printf("%7.1f%c ", v, units[unit]);
}

static void print_row(const json_t *row, const char *name, bool exact)
{
    json_int_t logical = json_integer_value(json_object_get(row, "logical_bytes"));
    json_int_t stored = json_integer_value(json_object_get(row, "stored_bytes"));
    for (size_t i = 0; i < FOLD_ARRAY_LEN(columns); i++)
        print_bytes(json_integer_value(json_object_get(row, columns[i])), exact);
    if (stored > 0)
        fold_say(stdout, "%7.2f  %s", (double)logical / (double)stored, name);
    else
        fold_say(stdout, "%7s  %s", "-", name);
}

static void print_table(const json_t *result, char **paths, int n, bool exact)
{
    const int width = exact ? 14 : 8;
    fold_say(stdout, "%*s %*s %*s %*s   ratio  path", width, "logical", width, "stored", width,
             "unique", width, "shared");
    const json_t *rows = json_object_get(result, "rows");
    for (int i = 0; i < n; i++)
        print_row(json_array_get(rows, (size_t)i), paths[i], exact);
    if (n > 1)
        print_row(json_object_get(result, "total"), "total", exact);
}

/* Each row gets its path; bytes that are not UTF-8 cannot be put into JSON and are left out. */
static int print_json(const json_t *result, char **paths, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *row = json_array_get(json_object_get(result, "rows"), (size_t)i);
        json_t *name = json_string(paths[i]);
        (void)json_object_set_new(row, "path", name != NULL ? name : json_null());
        (void)json_array_append(list, row);
    }
    json_t *all = json_pack("{s:o, s:O}", "paths", list, "total", json_object_get(result, "total"));
    if (all == NULL)
        return -ENOMEM;
    fold_json_print(all);
    json_decref(all);
    return 0;
}

/* Cuts the last component off an absolute path; false at the root. */
static bool to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (path[1] == '\0' || slash == NULL)
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* Where the filesystem that holds the file is mounted: malloc'd in *out. */
static int mount_point_of(const char *path, dev_t dev, char **out)
{
    struct stat st;
    FOLD_AUTO(free) char *at = realpath(path, NULL);
    FOLD_AUTO(free) char *up = at != NULL ? strdup(at) : NULL;
    if (up == NULL)
        return at == NULL ? -errno : -ENOMEM;
    while (to_parent(up)) {
        if (lstat(up, &st) != 0)
            return -errno;
        if (st.st_dev != dev)
            break;
        at[strlen(up)] = '\0'; /* `up` is a prefix of it */
    }
    *out = at;
    at = NULL;
    return 0;
}

/* The inode numbers of all paths, which must be of one mount; *point is where it is. */
static int resolve(const struct fold_verb *verb, char **paths, int n, json_t **inodes, char **point)
{
    dev_t dev = 0;
    json_t *list = json_array();
    int code = FOLD_EXIT_OK;
    for (int i = 0; code == FOLD_EXIT_OK && i < n; i++) {
        struct stat st;
        if (stat(paths[i], &st) != 0)
            code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM, "'%s': %s", paths[i], strerror(errno));
        else if (i > 0 && st.st_dev != dev)
            code = fold_cli_fail(verb, FOLD_EXIT_USAGE, "'%s' and '%s' are not in the same mount",
                                 paths[0], paths[i]);
        else if (json_array_append_new(list, json_integer((json_int_t)st.st_ino)) != 0)
            code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM, "out of memory");
        dev = st.st_dev;
    }
    int rc = code == FOLD_EXIT_OK ? mount_point_of(paths[0], dev, point) : 0;
    if (rc != 0)
        code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM, "'%s': %s", paths[0], fold_err_text(rc));
    if (code == FOLD_EXIT_OK)
        *inodes = list;
    else
        json_decref(list);
    return code;
}

/* Asks the daemon; `inodes` is taken over. */
static int measure(const struct fold_verb *verb, const char *path, const char *point,
                   json_t *inodes, json_t **result)
{
    char why[256];
    struct fold_target target = FOLD_TARGET_NONE;
    json_t *args = json_pack("{s:o}", "inodes", inodes);
    int rc = fold_target_find(point, &target, why, sizeof why);
    if (rc == 0 && (target.fd < 0 || target.point == NULL)) {
        rc = -ENOTCONN;
        if (target.point == NULL)
            snprintf(why, sizeof why, "'%s' is not in a foldfs mount", path);
        else
            snprintf(why, sizeof why,
                     "the daemon of '%s' does not answer, or the mount is read-only", target.point);
    }
    if (rc != 0) {
        json_decref(args);
    } else {
        rc = fold_client_call(target.fd, "du", args, 0, NULL, NULL, result, why, sizeof why);
    }
    fold_target_free(&target);
    if (rc == -FOLD_E_NOT_A_STORE)
        return fold_cli_fail(verb, FOLD_EXIT_USAGE, "'%s' is not in a foldfs mount", path);
    return rc == 0 ? FOLD_EXIT_OK : fold_cli_fail(verb, fold_cli_exit_code(rc), "%s", why);
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_cli cli;
    const char *value;
    bool exact = false, as_json = false;
    int id, n;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        exact = exact || id == 'b';
        as_json = as_json || id == 'j';
    }
    char **paths = fold_cli_operands(&cli, 1, PATHS_MAX, &n);
    if (paths == NULL)
        return cli.exit;
    json_t *inodes, *result = NULL;
    FOLD_AUTO(free) char *point = NULL;
    int code = resolve(verb, paths, n, &inodes, &point);
    if (code == FOLD_EXIT_OK)
        code = measure(verb, paths[0], point, inodes, &result);
    if (result != NULL && as_json && print_json(result, paths, n) != 0)
        code = fold_cli_fail(verb, FOLD_EXIT_SYSTEM, "out of memory");
    else if (result != NULL && !as_json)
        print_table(result, paths, n, exact);
    json_decref(result);
    return code;
}

const struct fold_verb fold_verb_du = {
    .name = "du",
    .synopsis = "[--bytes] [--json] PATH...",
    .summary = "show what files and directories really take",
    .details =
        "logical: bytes that are data, not holes. stored: what their distinct chunks occupy,\n"
        "compressed. unique: the part of it that nothing else names, which deleting would\n"
        "free. shared: the rest.\n",
    .options = options,
    .run = run,
};
