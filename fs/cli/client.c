/* SPDX-License-Identifier: MIT */
/*
 * The client side of the control socket.
 */
#include "fs/cli/client.h"

#include "fs/cli/mounts.h"
#include "fs/control.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/volume.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#define LINE_MAX_BYTES (16u << 20)

void fold_target_free(struct fold_target *t)
{
    free(t->store);
    free(t->point);
    if (t->fd >= 0)
        close(t->fd);
    *t = (struct fold_target){.fd = -1};
}

static pid_t peer_pid(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return 0;
    return peer.pid;
}

/* Connects to the daemon of t->store, if any. */
static int attach(struct fold_target *t)
{
    FOLD_AUTO(close) int storefd = fold_io_open(AT_FDCWD, t->store, O_PATH | O_DIRECTORY, 0);
    if (storefd < 0)
        return storefd;
    int fd = fold_control_connect(storefd);
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return 0;
    if (fd < 0)
        return fd;
    t->fd = fd;
    t->pid = peer_pid(fd);
    return 0;
}

/* The operand is no mount point: it must be a store. */
static int find_store(const char *operand, struct fold_target *t)
{
    struct fold_volume_params params;
    struct fold_mount mount = {.point = NULL};
    t->store = realpath(operand, NULL);
    if (t->store == NULL)
        return -errno;
    int rc = fold_volume_probe(t->store, &params);
    if (rc != 0)
        return rc;
    if (fold_mounts_of(t->store, &mount) == 0) {
        t->point = mount.point;
        t->read_only = mount.read_only;
        mount.point = NULL;
    }
    fold_mount_free(&mount);
    return 0;
}

int fold_target_find(const char *operand, struct fold_target *out, char *why, size_t why_size)
{
    struct fold_target t = {.fd = -1};
    struct fold_mount mount = {.point = NULL};
    int rc = fold_mounts_at(operand, &mount);
    if (rc == 0) {
        t.store = mount.store;
        t.point = mount.point;
        t.read_only = mount.read_only;
        mount.store = mount.point = NULL;
    } else {
        rc = find_store(operand, &t);
    }
    fold_mount_free(&mount);
    if (rc == 0)
        rc = attach(&t);
    if (rc == 0) {
        *out = t;
        return 0;
    }
    if (rc == -FOLD_E_NOT_A_STORE)
        snprintf(why, why_size, "'%s' is neither a foldfs mount point nor a store", operand);
    else if (rc == -EACCES || rc == -EPERM)
        snprintf(why, why_size,
                 "no permission to reach the store of '%s'; ask as its owner or as root", operand);
    else
        snprintf(why, why_size, "'%s': %s", operand, fold_err_text(rc));
    fold_target_free(&t);
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
    if (rc == 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0)
        rc = -errno;
    if (rc == 0)
        rc = converse(&in, progress, arg, result, why, why_size);
    free(in.data);
    if (rc == -EPIPE)
        snprintf(why, why_size, "the daemon went away before it answered");
    else if (rc == -ETIMEDOUT)
        snprintf(why, why_size, "the daemon does not answer");
    else if (rc != 0 && why[0] == '\0')
        snprintf(why, why_size, "%s", fold_err_text(rc));
    return rc;
}

void fold_json_print(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}
