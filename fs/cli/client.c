/* SPDX-License-Identifier: MIT */
/*
 * The client side of the control socket.
 */
#include "fs/cli/client.h"

#include "fs/cli/mounts.h"
#include "fs/endpoint.h"
#include "fs/stats.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/volume.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <time.h>

#define LINE_MAX_BYTES (16u << 20)
/* For an answer that costs the daemon nothing. */
#define ABOUT_WAIT_S 5
/* A daemon that does not accept connections is tried for this long. */
#define BUSY_WAIT_MS  5000u
#define BUSY_PAUSE_MS 50u

void fold_target_free(struct fold_target *t)
{
    free(t->store);
    free(t->point);
    if (t->fd >= 0)
        close(t->fd);
    if (t->pidfd >= 0)
        close(t->pidfd);
    *t = (struct fold_target)FOLD_TARGET_NONE;
}

static void take_connection(struct fold_target *t, int fd)
{
    t->fd = fd;
    fold_endpoint_peer(fd, &t->pid, &t->pidfd);
}

static dev_t dev_of(const char *text)
{
    unsigned high, low;
    return text != NULL && sscanf(text, "%u:%u", &high, &low) == 2 ? makedev(high, low) : 0;
}

static enum fold_daemon_state state_of(const char *text)
{
    if (text != NULL && strcmp(text, "serving") == 0)
        return FOLD_DAEMON_SERVING;
    if (text != NULL && strcmp(text, "closing") == 0)
        return FOLD_DAEMON_CLOSING;
    return FOLD_DAEMON_NOT_MOUNTED;
}

/* Asks on a connection, which is used up. */
static int ask_about(int fd, struct fold_daemon *out)
{
    char why[256];
    json_t *about = NULL;
    int rc = fold_client_call(fd, "about", NULL, ABOUT_WAIT_S, NULL, NULL, &about, why, sizeof why);
    close(fd);
    if (rc != 0)
        return rc;
    *out = (struct fold_daemon){
        .state = state_of(json_string_value(json_object_get(about, "state"))),
        .pid = (pid_t)json_integer_value(json_object_get(about, "pid")),
        .dev = dev_of(json_string_value(json_object_get(about, "device"))),
    };
    const char *uuid = json_string_value(json_object_get(about, "uuid"));
    (void)snprintf(out->uuid, sizeof out->uuid, "%s", uuid != NULL ? uuid : "");
    json_decref(about);
    return 0;
}

int fold_client_about(int storefd, struct fold_daemon *out)
{
    int fd = fold_endpoint_connect_store(storefd);
    return fd < 0 ? fd : ask_about(fd, out);
}

/* Connects to the daemon of the store at `path`; if `dev` is not 0, only if that is its mount. */
static int attach_store(struct fold_target *t, const char *path, dev_t dev)
{
    FOLD_AUTO(close) int storefd = fold_io_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
    if (storefd < 0)
        return storefd;
    if (dev != 0) {
        struct fold_daemon daemon = {.pid = 0};
        int rc = fold_client_about(storefd, &daemon);
        if (rc != 0 || daemon.dev != dev)
            return rc == -EACCES || rc == -ETIMEDOUT ? rc : -ENOENT;
    }
    int fd = fold_endpoint_connect_store(storefd);
    if (fd < 0)
        return fd;
    take_connection(t, fd);
    return 0;
}

/* Connects to the daemon of a mount: by its device number, or by the store where that cannot be
 * seen, as from another network namespace. */
static int attach_mount(struct fold_target *t, const struct fold_mount *m)
{
    const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000l};
    int fd = fold_endpoint_connect_mount(m->dev, m->owner);
    for (unsigned i = 0; fd == -EAGAIN && i < BUSY_WAIT_MS / BUSY_PAUSE_MS; i++) {
        nanosleep(&pause, NULL);
        fd = fold_endpoint_connect_mount(m->dev, m->owner);
    }
    if (fd < 0) { /* strangers can fill the queue of a mount, but not that of a store */
        int rc = attach_store(t, m->store, m->dev);
        return rc != 0 && fd == -EAGAIN ? -ETIMEDOUT : rc;
    }
    take_connection(t, fd);
    return 0;
}

/* That there is no daemon to be found is no failure; `fd` tells. */
static int unless_none(int rc)
{
    return rc == -ENOENT || rc == -ENOTDIR || rc == -ECONNREFUSED ? 0 : rc;
}

int fold_target_of_mount(const struct fold_mount *m, struct fold_target *out)
{
    struct fold_target t = FOLD_TARGET_NONE;
    t.store = strdup(m->store);
    t.point = strdup(m->point);
    t.read_only = m->read_only;
    int rc = t.store == NULL || t.point == NULL ? -ENOMEM : unless_none(attach_mount(&t, m));
    if (rc == 0)
        *out = t;
    else
        fold_target_free(&t);
    return rc;
}

/* False if the mount belongs to another volume, whose store had the same path once. */
static bool is_of(const struct fold_mount *m, const struct fold_volume_params *params)
{
    char uuid[FOLD_UUID_TEXT];
    struct fold_daemon daemon;
    int fd = fold_endpoint_connect_mount(m->dev, m->owner);
    if (fd < 0 || ask_about(fd, &daemon) != 0)
        return true; /* as far as one can know */
    fold_stats_uuid(params->uuid, uuid);
    return strcmp(uuid, daemon.uuid) == 0;
}

/* The operand is no mount point: it must be a store. */
static int find_store(const char *operand, struct fold_target *out)
{
    struct fold_volume_params params;
    struct fold_mount mount = {.point = NULL};
    struct fold_target t = FOLD_TARGET_NONE;
    t.store = realpath(operand, NULL);
    if (t.store == NULL)
        return -errno;
    int rc = fold_volume_probe(t.store, &params);
    if (rc == 0 && fold_mounts_of(t.store, &mount) == 0 && is_of(&mount, &params)) {
        t.point = mount.point;
        t.read_only = mount.read_only;
        mount.point = NULL;
        if (t.read_only) /* its daemon has no socket in the store */
            rc = unless_none(attach_mount(&t, &mount));
    }
    fold_mount_free(&mount);
    if (rc == 0 && t.fd < 0)
        rc = unless_none(attach_store(&t, t.store, 0));
    if (rc == 0)
        *out = t;
    else
        fold_target_free(&t);
    return rc;
}

int fold_target_find(const char *operand, struct fold_target *out, char *why, size_t why_size)
{
    struct fold_mount mount = {.point = NULL};
    int rc = fold_mounts_at(operand, &mount);
    rc = rc == 0 ? fold_target_of_mount(&mount, out) : find_store(operand, out);
    fold_mount_free(&mount);
    if (rc == -FOLD_E_NOT_A_STORE)
        snprintf(why, why_size, "'%s' is neither a foldfs mount point nor a store", operand);
    else if (rc == -EACCES || rc == -EPERM)
        snprintf(why, why_size,
                 "no permission to reach the store of '%s'; ask as its owner or as root", operand);
    else if (rc == -ETIMEDOUT)
        snprintf(why, why_size, "the daemon of '%s' does not answer", operand);
    else if (rc != 0)
        snprintf(why, why_size, "'%s': %s", operand, fold_err_text(rc));
    return rc;
}

static int send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ECONNRESET ? -EPIPE : -errno;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_request(int fd, const char *verb, json_t *args)
{
    FOLD_AUTO(free) char *text = NULL;
    json_t *request =
        json_pack("{s:s,s:o}", "verb", verb, "args", args != NULL ? args : json_object());
    if (request == NULL)
        return -ENOMEM;
    text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (text == NULL)
        return -ENOMEM;
    size_t len = strlen(text);
    text[len++] = '\n'; /* in place of the terminator */
    return send_all(fd, text, len);
}

/* Received bytes that are not consumed yet. */
struct lines {
    int fd;
    char *data;
    size_t used;
    size_t cap;
};

static int receive(struct lines *in)
{
    if (in->cap - in->used < 4096) {
        size_t cap = in->cap != 0 ? in->cap * 2 : 16384;
        char *data = cap <= LINE_MAX_BYTES ? realloc(in->data, cap) : NULL;
        if (data == NULL)
            return -ENOMEM;
        in->data = data;
        in->cap = cap;
    }
    ssize_t n = recv(in->fd, in->data + in->used, in->cap - in->used, 0);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0)
        return errno == EAGAIN ? -ETIMEDOUT : errno == ECONNRESET ? -EPIPE : -errno;
    if (n == 0)
        return -EPIPE;
    in->used += (size_t)n;
    return 0;
}

/* The next line as JSON, a new reference in *out. */
static int next_line(struct lines *in, json_t **out)
{
    char *end;
    while (in->used == 0 || (end = memchr(in->data, '\n', in->used)) == NULL) {
        int rc = receive(in);
        if (rc != 0)
            return rc;
    }
    size_t len = (size_t)(end - in->data);
    json_t *line = json_loadb(in->data, len, 0, NULL);
    in->used -= len + 1;
    memmove(in->data, end + 1, in->used);
    if (line == NULL)
        return -EPROTO;
    *out = line;
    return 0;
}

static int finish(const json_t *line, json_t **result, char *why, size_t why_size)
{
    if (json_is_true(json_object_get(line, "ok"))) {
        if (result != NULL)
            *result = json_incref(json_object_get(line, "result"));
        return 0;
    }
    const char *message = json_string_value(json_object_get(line, "message"));
    json_int_t code = json_integer_value(json_object_get(line, "code"));
    if (message == NULL || code >= 0 || code < -FOLD_E_END_)
        return -EPROTO;
    snprintf(why, why_size, "%s", message);
    return (int)code;
}

static int converse(struct lines *in, fold_client_progress progress, void *arg, json_t **result,
                    char *why, size_t why_size)
{
    for (;;) {
        json_t *line;
        int rc = next_line(in, &line);
        if (rc != 0)
            return rc;
        const json_t *news = json_object_get(line, "progress");
        if (news == NULL) {
            rc = finish(line, result, why, why_size);
            json_decref(line);
            return rc;
        }
        if (progress != NULL)
            progress(arg, news);
        json_decref(line);
    }
}

int fold_client_call(int fd, const char *verb, json_t *args, unsigned quiet_s,
                     fold_client_progress progress, void *arg, json_t **result, char *why,
                     size_t why_size)
{
    const struct timeval wait = {.tv_sec = quiet_s};
    struct lines in = {.fd = fd};
    why[0] = '\0';
    int rc = send_request(fd, verb, args);
    /* A daemon that refuses us answers without reading what we say. */
    if ((rc == 0 || rc == -EPIPE) &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0)
        rc = -errno;
    else if (rc == 0 || rc == -EPIPE)
        rc = converse(&in, progress, arg, result, why, why_size);
    free(in.data);
    if (rc == -EPIPE)
        snprintf(why, why_size, "the daemon went away before it answered");
    else if (rc == -ETIMEDOUT)
        snprintf(why, why_size, "the daemon does not answer");
    else if (rc == -EACCES)
        snprintf(why, why_size, "no permission to ask the daemon; ask as its owner or as root");
    else if (rc != 0 && why[0] == '\0')
        snprintf(why, why_size, "%s", fold_err_text(rc));
    return rc;
}

void fold_json_print(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}
