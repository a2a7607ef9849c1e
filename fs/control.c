/* SPDX-License-Identifier: MIT */
/*
 * One thread accepts, each connection is served by a thread of its own, at most CONNECTIONS at a
 * time; further clients wait in the listen queue. All threads are joined by fold_control_stop.
 */
#include "fs/control.h"

#include "fs/endpoint.h"
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

#define CONNECTIONS     8
#define REQUEST_MAX     (1u << 20)
#define REQUEST_WAIT_S  10
#define RESPONSE_WAIT_S 30
#define SHORT_WAIT_MS   100u
/* The same while the daemon is closing. */
#define CLOSING_WAIT_MS 1000u

static const char run_name[] = "run";

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
    int run_fd;                            /* fixed; the run directory, -1 if there is none */
    int store_fd;                          /* fixed; listens in it, or -1 */
    atomic_int mount_fd;                   /* listens for the mount, or -1; set once */
    int wake_fd; /* fixed; readable when a slot fell free, mount_fd was set, or at stop */
    pthread_t acceptor;
    atomic_bool closing;  /* set once: running requests end, few new ones are answered */
    atomic_bool stopping; /* set once, later: nothing is answered */
    struct fold_lock lock;
    pthread_cond_t quiet; /* with lock: nothing runs */
    unsigned running;     /* guarded by lock: handlers that fold_control_quiesce waits for */
    struct slot slots[CONNECTIONS];
};

struct fold_control_reply {
    struct fold_control *control;
    int fd;
    bool to_the_end; /* goes on while the control object is closing */
    json_t *result;  /* owned, may be NULL */
    bool cut;        /* a line could not be sent, or not to its end: nothing more can be said */
};

/* How long a client that does not read may hold up its request. */
static unsigned patience_ms(const struct fold_control *c)
{
    return atomic_load(&c->closing) ? CLOSING_WAIT_MS : RESPONSE_WAIT_S * 1000u;
}

static int send_line(const struct fold_control *c, int fd, json_t *object)
{
    FOLD_AUTO(free) char *text = json_dumps(object, JSON_COMPACT);
    if (text == NULL)
        return -ENOMEM;
    size_t len = strlen(text);
    text[len++] = '\n'; /* in place of the terminator */
    unsigned waited_ms = 0;
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (n > 0)
            done += (size_t)n;
        else if (errno == EAGAIN && waited_ms >= patience_ms(c))
            return -ETIMEDOUT;
        else if (errno == EAGAIN)
            waited_ms += poll(&p, 1, SHORT_WAIT_MS) == 0 ? SHORT_WAIT_MS : 0;
        else if (errno != EINTR)
            return errno == ECONNRESET ? -EPIPE : -errno;
    }
    return 0;
}

/* True once the client has closed its end. */
static bool client_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* True if the daemon wants the request to end. */
static bool ending(const struct fold_control_reply *reply)
{
    const struct fold_control *c = reply->control;
    return atomic_load(&c->stopping) || (atomic_load(&c->closing) && !reply->to_the_end);
}

bool fold_control_cancelled(struct fold_control_reply *reply)
{
    return reply->cut || ending(reply) || client_gone(reply->fd);
}

int fold_control_progress(struct fold_control_reply *reply, json_t *progress)
{
    if (reply->cut || ending(reply)) {
        json_decref(progress);
        return reply->cut ? -EPIPE : -ECANCELED;
    }
    json_t *line = json_pack("{s:o}", "progress", progress);
    if (line == NULL)
        return -ENOMEM;
    int rc = send_line(reply->control, reply->fd, line);
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

/* Runs the verb unless it comes too late. */
static int run_verb(struct fold_control_reply *reply, const struct fold_control_verb *v,
                    json_t *args)
{
    struct fold_control *c = reply->control;
    reply->to_the_end = v->to_the_end;
    if (v->to_the_end)
        return v->fn(c->session, args, reply);
    fold_lock_take(&c->lock);
    bool late = atomic_load(&c->closing);
    if (!late)
        c->running++;
    fold_lock_drop(&c->lock);
    if (late)
        return -ESHUTDOWN;
    int rc = v->fn(c->session, args, reply);
    fold_lock_take(&c->lock);
    if (--c->running == 0)
        pthread_cond_broadcast(&c->quiet);
    fold_lock_drop(&c->lock);
    return rc;
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
            rc = run_verb(reply, &c->verbs[i], args);
    json_decref(request);
    return rc;
}

static json_t *final_line(int rc, json_t *result)
{
    if (rc == 0 && result != NULL)
        return json_pack("{s:b,s:O}", "ok", 1, "result", result);
    if (rc == 0)
        return json_pack("{s:b,s:n}", "ok", 1, "result");
    const char *text = rc == -ENOSYS      ? "the daemon does not know this request"
                       : rc == -ESHUTDOWN ? "the daemon is closing the store"
                                          : fold_err_text(rc);
    return json_pack("{s:b,s:i,s:s,s:s}", "ok", 0, "code", rc, "name", fold_err_name(rc), "message",
                     text);
}

static void serve(struct fold_control *c, int fd)
{
    const struct timeval in_wait = {.tv_sec = REQUEST_WAIT_S};
    struct fold_control_reply reply = {.control = c, .fd = fd};
    int rc = -ENOMEM;
    FOLD_AUTO(free) char *line = malloc(REQUEST_MAX);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &in_wait, sizeof in_wait) != 0)
        return;
    if (line != NULL)
        rc = read_request(fd, line);
    if (rc == -EPIPE)
        return;
    if (rc == 0)
        rc = dispatch(&reply, line);
    json_t *final = reply.cut ? NULL : final_line(rc, reply.result);
    if (final != NULL && send_line(c, fd, final) != 0)
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

/* Everybody may connect by way of the mount. Strangers are sent away at once: none has a slot. */
static void refuse(const struct fold_control *c, int fd)
{
    json_t *final = final_line(-EACCES, NULL);
    if (final == NULL || send_line(c, fd, final) != 0)
        fold_debug("a stranger left the control socket before the answer");
    json_decref(final);
    close(fd);
}

/* Takes a client off the queue of `listen_fd`. */
static void take_client(struct fold_control *c, struct slot *slot, int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && !fold_endpoint_admits(fd))
        refuse(c, fd);
    else if (fd >= 0)
        start_connection(c, slot, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        poll(NULL, 0, SHORT_WAIT_MS); /* the client waits in the queue */
}

static void *acceptor_main(void *arg)
{
    struct fold_control *c = arg;
    while (!atomic_load(&c->stopping)) {
        struct slot *slot = free_slot(c);
        bool room = slot != NULL;
        struct pollfd p[3] = {{.fd = c->wake_fd, .events = POLLIN},
                              {.fd = room ? c->store_fd : -1, .events = POLLIN},
                              {.fd = room ? atomic_load(&c->mount_fd) : -1, .events = POLLIN}};
        if (poll(p, FOLD_ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            break;
        uint64_t count;
        if ((p[0].revents & POLLIN) != 0 && read(c->wake_fd, &count, sizeof count) < 0)
            break;
        if (atomic_load(&c->stopping))
            break;
        /* One at a time: each needs a slot. */
        if ((p[1].revents & POLLIN) != 0)
            take_client(c, slot, p[1].fd);
        else if ((p[2].revents & POLLIN) != 0)
            take_client(c, slot, p[2].fd);
    }
    return NULL;
}

static void destroy(struct fold_control *c)
{
    if (c->store_fd >= 0)
        close(c->store_fd);
    if (atomic_load(&c->mount_fd) >= 0)
        close(atomic_load(&c->mount_fd));
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    if (c->run_fd >= 0)
        close(c->run_fd);
    pthread_cond_destroy(&c->quiet);
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

/* Makes the socket in the store. */
static int open_store_socket(struct fold_control *c, int storefd)
{
    int made = fold_io_mkdir(storefd, run_name, 0700);
    c->run_fd = fold_io_open(storefd, run_name, O_RDONLY | O_DIRECTORY, 0);
    if (c->run_fd < 0)
        return made != 0 && made != -EEXIST ? made : c->run_fd;
    c->store_fd = fold_endpoint_listen_store(c->run_fd);
    return c->store_fd < 0 ? c->store_fd : 0;
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
    c->run_fd = c->store_fd = -1;
    atomic_init(&c->mount_fd, -1);
    fold_lock_init(&c->lock, FOLD_RANK_LEAF, "control");
    fold_cond_init(&c->quiet);
    int rc = 0;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0)
        rc = -errno;
    if (rc == 0 && storefd >= 0)
        rc = open_store_socket(c, storefd);
    if (rc == 0) {
        rc = start_acceptor(c);
        if (rc == 0) {
            *out = c;
            return 0;
        }
        if (c->store_fd >= 0)
            fold_endpoint_unlink_store(c->run_fd);
    }
    destroy(c);
    return rc;
}

int fold_control_serve_mount(struct fold_control *c, dev_t dev)
{
    int fd = fold_endpoint_listen_mount(dev);
    if (fd < 0)
        return fd;
    atomic_store(&c->mount_fd, fd);
    wake(c);
    return 0;
}

void fold_control_quiesce(struct fold_control *c)
{
    if (c == NULL)
        return;
    fold_lock_take(&c->lock);
    atomic_store(&c->closing, true);
    while (c->running > 0)
        (void)fold_lock_wait(&c->lock, &c->quiet, NULL);
    fold_lock_drop(&c->lock);
}

void fold_control_stop(struct fold_control *c)
{
    if (c == NULL)
        return;
    /* Gone from the directory first: new clients are told at once that nobody serves. */
    if (c->run_fd >= 0)
        fold_endpoint_unlink_store(c->run_fd);
    fold_control_quiesce(c);
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
