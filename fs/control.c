/* SPDX-License-Identifier: MIT */
/*
 * The control socket: one thread accepts, each connection is served by a thread of its own, at most
 * CONNECTIONS at a time; further clients wait in the listen queue. All threads are joined by
 * fold_control_stop.
 *
 * The socket's address goes through /proc/self/fd, because the path of a store may be longer than
 * sun_path.
 */
#include "fs/control.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECTIONS     8
#define REQUEST_MAX     (1u << 20)
#define REQUEST_WAIT_S  10
#define RESPONSE_WAIT_S 30
#define SHORT_WAIT_MS   100

static const char run_name[] = "run";
static const char socket_name[] = "control";

struct slot {
    struct fold_control *control; /* fixed */
    pthread_t thread;             /* valid while `used` */
    int fd;    /* guarded by control->lock; -1 once the thread is through with it */
    bool used; /* guarded by control->lock */
};

struct fold_control {
    const struct fold_control_verb *verbs; /* fixed */
    size_t verb_count;                     /* fixed */
    void *session;                         /* fixed */
    int run_fd;                            /* fixed; the run directory */
    int listen_fd;                         /* fixed */
    int wake_fd;                           /* fixed; readable when a slot fell free or at stop */
    pthread_t acceptor;
    atomic_bool stopping;
    struct fold_lock lock;
    struct slot slots[CONNECTIONS];
};

struct fold_control_reply {
    struct fold_control *control;
    int fd;
    json_t *result; /* owned, may be NULL */
    bool cut;       /* a line could not be sent, or not to its end: nothing more can be said */
};

static int set_address(int run_fd, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int n = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", run_fd,
                     socket_name);
    return n > 0 && (size_t)n < sizeof address->sun_path ? 0 : -ENAMETOOLONG;
}

static int connect_run(int run_fd)
{
    struct sockaddr_un address;
    int rc = set_address(run_fd, &address);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

int fold_control_connect(int storefd)
{
    FOLD_AUTO(close) int run_fd = fold_io_open(storefd, run_name, O_PATH | O_DIRECTORY, 0);
    if (run_fd < 0)
        return run_fd;
    return connect_run(run_fd);
}

static int send_line(int fd, json_t *object)
{
    FOLD_AUTO(free) char *text = json_dumps(object, JSON_COMPACT);
    if (text == NULL)
        return -ENOMEM;
    size_t len = strlen(text);
    text[len++] = '\n'; /* in place of the terminator */
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ECONNRESET ? -EPIPE : -errno;
        done += (size_t)n;
    }
    return 0;
}

/* True once the client has closed its end. */
static bool client_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool fold_control_cancelled(struct fold_control_reply *reply)
{
    return reply->cut || atomic_load(&reply->control->stopping) || client_gone(reply->fd);
}

int fold_control_progress(struct fold_control_reply *reply, json_t *progress)
{
    if (reply->cut || atomic_load(&reply->control->stopping)) {
        json_decref(progress);
        return reply->cut ? -EPIPE : -ECANCELED;
    }
    json_t *line = json_pack("{s:o}", "progress", progress);
    if (line == NULL)
        return -ENOMEM;
    int rc = send_line(reply->fd, line);
    reply->cut = rc != 0 && rc != -ENOMEM;
    json_decref(line);
    return rc;
}

void fold_control_result(struct fold_control_reply *reply, json_t *result)
{
    json_decref(reply->result);
    reply->result = result;
}

/* Reads up to the newline; the terminator replaces it. */
static int read_request(int fd, char *line)
{
    size_t used = 0;
    while (used < REQUEST_MAX) {
        ssize_t n = recv(fd, line + used, REQUEST_MAX - used, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EPIPE;
        char *end = memchr(line + used, '\n', (size_t)n);
        used += (size_t)n;
        if (end != NULL) {
            *end = '\0';
            return 0;
        }
    }
    return -EMSGSIZE;
}

static int dispatch(struct fold_control_reply *reply, const char *line)
{
    struct fold_control *c = reply->control;
    json_t *request = json_loads(line, 0, NULL);
    const char *verb = json_string_value(json_object_get(request, "verb"));
    json_t *args = json_object_get(request, "args");
    int rc = -ENOSYS;
    if (verb == NULL || (args != NULL && !json_is_object(args))) {
        json_decref(request);
        return -EBADMSG;
    }
    if (args == NULL && json_object_set_new(request, "args", json_object()) == 0)
        args = json_object_get(request, "args");
    for (size_t i = 0; i < c->verb_count; i++)
        if (strcmp(c->verbs[i].verb, verb) == 0)
            rc = c->verbs[i].fn(c->session, args, reply);
    json_decref(request);
    return rc;
}

static json_t *final_line(int rc, json_t *result)
{
    if (rc == 0 && result != NULL)
        return json_pack("{s:b,s:O}", "ok", 1, "result", result);
    if (rc == 0)
        return json_pack("{s:b,s:n}", "ok", 1, "result");
    const char *text = rc == -ENOSYS ? "the daemon does not know this request" : fold_err_text(rc);
    return json_pack("{s:b,s:i,s:s,s:s}", "ok", 0, "code", rc, "name", fold_err_name(rc), "message",
                     text);
}

static bool peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void serve(struct fold_control *c, int fd)
{
    const struct timeval in_wait = {.tv_sec = REQUEST_WAIT_S};
    const struct timeval out_wait = {.tv_sec = RESPONSE_WAIT_S};
    struct fold_control_reply reply = {.control = c, .fd = fd};
    int rc = -ENOMEM;
    FOLD_AUTO(free) char *line = malloc(REQUEST_MAX);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &in_wait, sizeof in_wait) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &out_wait, sizeof out_wait) != 0)
        return;
    if (line != NULL)
        rc = peer_allowed(fd) ? read_request(fd, line) : -EACCES;
    if (rc == -EPIPE)
        return;
    if (rc == 0)
        rc = dispatch(&reply, line);
    json_t *final = reply.cut ? NULL : final_line(rc, reply.result);
    if (final != NULL && send_line(fd, final) != 0)
        fold_debug("a control client left before its answer");
    json_decref(final);
    json_decref(reply.result);
}

static void wake(struct fold_control *c)
{
    const uint64_t one = 1;
    if (write(c->wake_fd, &one, sizeof one) != (ssize_t)sizeof one)
        fold_error("control: cannot wake the acceptor: %s", strerror(errno));
}

static void *connection_main(void *arg)
{
    struct slot *slot = arg;
    struct fold_control *c = slot->control;
    serve(c, slot->fd);
    fold_lock_take(&c->lock);
    close(slot->fd);
    slot->fd = -1;
    fold_lock_drop(&c->lock);
    wake(c);
    return NULL;
}

/* Joins the threads that have ended; returns a free slot or NULL. Only the acceptor calls it. */
static struct slot *free_slot(struct fold_control *c)
{
    struct slot *found = NULL;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct slot *s = &c->slots[i];
        fold_lock_take(&c->lock);
        bool ended = s->fd < 0;
        fold_lock_drop(&c->lock);
        if (s->used && ended) {
            pthread_join(s->thread, NULL);
            s->used = false;
        }
        if (!s->used)
            found = s;
    }
    return found;
}

static void start_connection(struct fold_control *c, struct slot *slot, int fd)
{
    fold_lock_take(&c->lock);
    slot->control = c;
    slot->fd = fd;
    fold_lock_drop(&c->lock);
    slot->used = true;
    int rc = pthread_create(&slot->thread, NULL, connection_main, slot);
    if (rc != 0) {
        fold_error("control: cannot start a thread: %s", strerror(rc));
        slot->used = false;
        close(fd);
    }
}

static void *acceptor_main(void *arg)
{
    struct fold_control *c = arg;
    while (!atomic_load(&c->stopping)) {
        struct slot *slot = free_slot(c);
        struct pollfd p[2] = {{.fd = c->wake_fd, .events = POLLIN},
                              {.fd = slot != NULL ? c->listen_fd : -1, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        uint64_t count;
        if ((p[0].revents & POLLIN) != 0 && read(c->wake_fd, &count, sizeof count) < 0)
            break;
        if (slot == NULL || (p[1].revents & POLLIN) == 0 || atomic_load(&c->stopping))
            continue;
        int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start_connection(c, slot, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            poll(NULL, 0, SHORT_WAIT_MS); /* the client waits in the queue */
    }
    return NULL;
}

/* Removes a dead daemon's socket and makes ours. */
static int listen_on(int run_fd)
{
    struct sockaddr_un address;
    int other = connect_run(run_fd);
    if (other >= 0) {
        close(other);
        return -EADDRINUSE;
    }
    int rc = fold_io_unlink(run_fd, socket_name);
    if (rc != 0 && rc != -ENOENT)
        return rc;
    rc = set_address(run_fd, &address);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* The mode set before bind is the one the socket file is born with. */
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        fchmodat(run_fd, socket_name, 0600, 0) != 0 || listen(fd, 16) != 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static void destroy(struct fold_control *c)
{
    if (c->listen_fd >= 0)
        close(c->listen_fd);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    if (c->run_fd >= 0)
        close(c->run_fd);
    fold_lock_fini(&c->lock);
    free(c);
}

/*
 * Threads of the control object leave the signals of the process to the session loop; but a fault
 * in a mapping is theirs, and must reach the guard.
 */
static int start_acceptor(struct fold_control *c)
{
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = -pthread_create(&c->acceptor, NULL, acceptor_main, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int fold_control_start(int storefd, const struct fold_control_verb *verbs, size_t n, void *session,
                       struct fold_control **out)
{
    struct fold_control *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->verbs = verbs;
    c->verb_count = n;
    c->session = session;
    c->listen_fd = -1;
    c->wake_fd = -1;
    fold_lock_init(&c->lock, FOLD_RANK_LEAF, "control");
    int rc = fold_io_mkdir(storefd, run_name, 0700);
    c->run_fd = fold_io_open(storefd, run_name, O_RDONLY | O_DIRECTORY, 0);
    if (c->run_fd < 0) {
        rc = rc != 0 && rc != -EEXIST ? rc : c->run_fd;
        goto out;
    }
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0) {
        rc = -errno;
        goto out;
    }
    rc = listen_on(c->run_fd);
    if (rc < 0)
        goto out;
    c->listen_fd = rc;
    rc = start_acceptor(c);
    if (rc == 0) {
        *out = c;
        return 0;
    }
    (void)!fold_io_unlink(c->run_fd, socket_name);
out:
    destroy(c);
    return rc;
}

void fold_control_stop(struct fold_control *c)
{
    if (c == NULL)
        return;
    /* Gone from the directory first: new clients are told at once that nobody serves. */
    if (fold_io_unlink(c->run_fd, socket_name) != 0)
        fold_debug("control: the socket was already gone");
    atomic_store(&c->stopping, true);
    wake(c);
    pthread_join(c->acceptor, NULL);
    fold_lock_take(&c->lock);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (c->slots[i].used && c->slots[i].fd >= 0)
            shutdown(c->slots[i].fd, SHUT_RD);
    fold_lock_drop(&c->lock);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (c->slots[i].used)
            pthread_join(c->slots[i].thread, NULL);
    destroy(c);
}
