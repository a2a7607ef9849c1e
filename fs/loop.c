/* SPDX-License-Identifier: MIT */
/*
 * Each thread owns one buffer at a time. The payload of a write begins 80 bytes into the request
 * (two 40-byte headers), so buffers begin 80 bytes before a page. What libfuse does not pass on is
 * read from the raw request here: the set-id wishes of the kernel; a request for a file without a
 * name is handed to it as a create; FUSE_STATX is answered here; and what it cannot ask for is
 * added to the INIT reply in the write hook.
 *
 * The ring is made while INIT is answered, before the reply asks for it: what fails until then
 * leaves the device as it always was. Afterwards only forgets and interrupts are read here, by one
 * thread that lets them gather.
 */
#include "fs/loop.h"

#include "fs/growth.h"
#include "fs/longwork.h"
#include "fs/ops.h"
#include "fs/ring.h"
#include "fs/ring_offer.h"
#include "fs/ring_proto.h"
#include "fs/session.h"
#include "fs/statx.h"
#include "fs/waitroom.h"
#include "meta/base/err.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sys/uio.h>
#include <time.h>

#define WRITE_LEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define REQUEST_BYTES                                                                              \
    (256u * 4096u + 4096u) /* what libfuse's session expects a read to be able to return */
#define KEPT_BUFFERS  64u
#define PAYLOAD_BYTES (REQUEST_BYTES - 4096u) /* of a request or reply: max_write, max_read */
/* How long forgets gather where they are all that is read. */
#define GATHER_MS 2
/* Pause before memory for a buffer is asked for again. */
#define SHORT_OF_MEMORY_MS 20

/* Not in the kernel headers of the oldest system we build on; bits of the 64-bit flag word. */
#define INIT_KILLPRIV_V2 (1ull << 28)
#define INIT_PARALLEL    (1ull << 18)
#define INIT_EXT         (1ull << 30)
#define INIT_DIRECT_MMAP (1ull << 36)
#define FATTR_KILL_BIT   (1u << 11)
#define OPCODE_TMPFILE   51u /* shaped like FUSE_CREATE */

struct fold_loop {
    struct fold_session *session;
    struct fuse_session *fuse;
    struct fold_bufpool *pool;
    _Atomic(struct fold_ring *) ring; /* NULL: not used */
    int fd;
    _Atomic int ready_fd;
    _Atomic uint64_t init_unique; /* of the INIT request, until it is answered */
    uint64_t offered;             /* flags the kernel offered; written before init_unique */
};

__thread struct fold_raw_request fold_raw_request;
static __thread struct fold_buf *current;
static __thread bool serving;

bool fold_loop_thread(void)
{
    return serving;
}

struct fold_buf *fold_loop_buffer(const void *data, size_t len)
{
    const uint8_t *p = data;
    struct fold_buf *b = current;
    return b != NULL && p >= b->mem && len <= b->cap && p + len <= b->mem + b->cap ? b : NULL;
}

/*
 * The kernel orders what was done before a reply before the requests that follow from it.
 * ThreadSanitizer cannot see that; under it the two ends are tied together by an atomic.
 */
#if defined(__SANITIZE_THREAD__)
static atomic_uint kernel_order;
static void order_reply(void)
{
    atomic_fetch_add_explicit(&kernel_order, 1, memory_order_acq_rel);
}
static void order_request(void)
{
    (void)atomic_load_explicit(&kernel_order, memory_order_acquire);
}
#else
#define order_reply()   ((void)0)
#define order_request() ((void)0)
#endif

static void serve_ring(void *arg, uint8_t *request, size_t len, struct fold_buf *buf);

static int make_ring(struct fold_loop *l)
{
    struct fold_ring *r = NULL;
    int rc = fold_ring_create(l->fd, PAYLOAD_BYTES, serve_ring, l, &r);
    if (rc == 0)
        atomic_store(&l->ring, r);
    return rc;
}

/* The flag that asks for the ring, 0 to leave it. */
static uint64_t ring_flag(struct fold_loop *l)
{
    int use = l->session->opt.uring;
    if ((l->offered & FOLD_RING_INIT_FLAG) == 0 || use == FOLD_URING_OFF) {
        if (use == FOLD_URING_ON)
            fold_error("the kernel does not offer FUSE over io_uring; requests go through "
                       "/dev/fuse");
        return 0;
    }
    int rc = atomic_load(&l->ring) == NULL ? make_ring(l) : 0;
    if (rc != 0)
        fold_warn("FUSE over io_uring: %s; requests go through /dev/fuse", fold_err_text(rc));
    return rc == 0 ? FOLD_RING_INIT_FLAG : 0;
}

bool fold_loop_on_ring(const struct fold_loop *l)
{
    const struct fold_ring *r = l != NULL ? atomic_load(&l->ring) : NULL;
    return r != NULL && fold_ring_running(r);
}

bool fold_loop_wait_begin(struct fold_loop *l, uint64_t unique, unsigned *queue)
{
    struct fold_ring *r = l != NULL ? atomic_load(&l->ring) : NULL;
    *queue = FOLD_RING_NO_QUEUE;
    return r == NULL || fold_ring_wait_begin(r, unique, queue);
}

void fold_loop_wait_end(struct fold_loop *l, unsigned queue)
{
    struct fold_ring *r = l != NULL ? atomic_load(&l->ring) : NULL;
    if (r != NULL)
        fold_ring_wait_end(r, queue);
}

static void add_init_flags(struct fold_loop *l, struct fuse_init_out *out)
{
    uint64_t wanted = INIT_KILLPRIV_V2 | INIT_PARALLEL | INIT_DIRECT_MMAP;
    uint64_t got = wanted & l->offered;
    if ((l->offered & INIT_EXT) != 0)
        got |= ring_flag(l);
    out->flags |= (uint32_t)got;
    if ((l->offered & INIT_EXT) != 0) {
        out->flags |= (uint32_t)INIT_EXT;
        out->flags2 |= (uint32_t)(got >> 32);
    }
    l->session->direct_io_ok = (got & INIT_DIRECT_MMAP) != 0 && (got & INIT_KILLPRIV_V2) != 0;
    if (!l->session->direct_io_ok)
        fold_info("the kernel lacks coherent direct writes; all files go through its page cache");
}

static ssize_t hook_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct fold_loop *l =
        atomic_load_explicit(&((struct fold_session *)userdata)->loop, memory_order_acquire);
    uint64_t init = atomic_load_explicit(&l->init_unique, memory_order_acquire);
    bool is_init = false;
    if (FOLD_UNLIKELY(init != 0) && iov[0].iov_len == sizeof(struct fuse_out_header)) {
        const struct fuse_out_header *h = iov[0].iov_base;
        is_init = h->unique == init && h->error == 0 && count == 2;
        if (is_init && iov[1].iov_len >= sizeof(struct fuse_init_out))
            add_init_flags(l, iov[1].iov_base);
    }
    order_reply();
    struct fold_ring *ring = atomic_load_explicit(&l->ring, memory_order_acquire);
    if (ring != NULL && fold_ring_reply(ring, iov, count))
        return 0; /* libfuse looks for errors only */
    ssize_t n = writev(fd, iov, count);
    if (is_init && n > 0) {
        atomic_store(&l->init_unique, 0);
        if (ring != NULL && (((struct fuse_init_out *)iov[1].iov_base)->flags2 &
                             (uint32_t)(FOLD_RING_INIT_FLAG >> 32)) != 0)
            fold_ring_start(ring);
        int ready = atomic_exchange(&l->ready_fd, -1);
        if (ready >= 0) {
            if (write(ready, "", 1) != 1)
                fold_warn("nobody waits for the mount to be ready");
            close(ready);
        }
    }
    return n;
}

static ssize_t hook_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)userdata;
    return read(fd, buf, len);
}

int fold_loop_create(struct fold_session *s, struct fuse_session *fuse, int ready_fd,
                     struct fold_loop **out)
{
    static const struct fuse_custom_io io = {.writev = hook_writev, .read = hook_read};
    struct fold_loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    l->session = s;
    l->fuse = fuse;
    l->fd = fuse_session_fd(fuse);
    atomic_init(&l->ready_fd, ready_fd);
    int rc = fold_bufpool_create(REQUEST_BYTES, WRITE_LEAD, KEPT_BUFFERS, &l->pool);
    if (rc == 0)
        rc = fuse_session_custom_io(fuse, &io, l->fd);
    if (rc == 0 && s->opt.uring == FOLD_URING_ON) {
        rc = fold_ring_offered();
        if (rc == 0)
            rc = make_ring(l);
    }
    if (rc != 0) {
        fold_loop_destroy(l);
        return rc < 0 ? rc : -EINVAL;
    }
    atomic_store(&s->loop, l);
    *out = l;
    return 0;
}

void fold_loop_destroy(struct fold_loop *l)
{
    if (l == NULL)
        return;
    fold_ring_destroy(atomic_load(&l->ring));
    fold_bufpool_destroy(l->pool);
    free(l);
}

/* Reads what libfuse does not hand to handlers. The request is at least a header long and comes
 * from the kernel. */
static void look_at(struct fold_loop *l, uint8_t *mem, size_t len)
{
    struct fuse_in_header h;
    memcpy(&h, mem, sizeof h);
    const uint8_t *arg = mem + sizeof h;
    size_t left = len - sizeof h;
    uint32_t word = 0;
    fold_raw_request.unique = h.unique;
    fold_raw_request.kill_priv = false;
    fold_raw_request.direct = false;
    fold_raw_request.unnamed = h.opcode == OPCODE_TMPFILE;
    if (fold_raw_request.unnamed) {
        h.opcode = FUSE_CREATE;
        memcpy(mem, &h, sizeof h);
    }
    switch (h.opcode) {
    case FUSE_WRITE:
        if (left >= sizeof(struct fuse_write_in))
            memcpy(&word, arg + offsetof(struct fuse_write_in, write_flags), sizeof word);
        fold_raw_request.kill_priv = (word & FUSE_WRITE_KILL_SUIDGID) != 0;
        /* Only what goes to the page cache and from it has no owner of locks. */
        fold_raw_request.direct = (word & FUSE_WRITE_LOCKOWNER) != 0;
        break;
    case FUSE_READ:
        if (left >= sizeof(struct fuse_read_in))
            memcpy(&word, arg + offsetof(struct fuse_read_in, read_flags), sizeof word);
        fold_raw_request.direct = (word & FUSE_READ_LOCKOWNER) != 0;
        break;
    case FUSE_SETATTR:
        if (left >= sizeof(struct fuse_setattr_in))
            memcpy(&word, arg + offsetof(struct fuse_setattr_in, valid), sizeof word);
        fold_raw_request.kill_priv = (word & FATTR_KILL_BIT) != 0;
        break;
    case FUSE_OPEN:
        if (left >= sizeof(struct fuse_open_in))
            memcpy(&word, arg + offsetof(struct fuse_open_in, open_flags), sizeof word);
        fold_raw_request.kill_priv = (word & FUSE_OPEN_KILL_SUIDGID) != 0;
        break;
    case FUSE_CREATE:
        if (left >= sizeof(struct fuse_create_in))
            memcpy(&word, arg + offsetof(struct fuse_create_in, open_flags), sizeof word);
        fold_raw_request.kill_priv = (word & FUSE_OPEN_KILL_SUIDGID) != 0;
        break;
    case FUSE_INIT: {
        struct fuse_init_in in = {0};
        memcpy(&in, arg, FOLD_MIN(left, sizeof in));
        l->offered = in.flags;
        if ((in.flags & INIT_EXT) != 0)
            l->offered |= (uint64_t)in.flags2 << 32;
        atomic_store_explicit(&l->init_unique, h.unique, memory_order_release);
        break;
    }
    default:
        break;
    }
}

/* Answers a request that libfuse does not know. False if it is another one. */
static bool answer_statx(struct fold_loop *l, const uint8_t *mem)
{
    struct fuse_in_header h;
    struct fold_statx_out out = {0};
    memcpy(&h, mem, sizeof h);
    if (h.opcode != FOLD_STATX_OPCODE)
        return false;
    int rc = fold_statx(l->session, h.nodeid, &out);
    struct fuse_out_header reply = {.len = sizeof reply, .unique = h.unique};
    struct iovec iov[] = {{&reply, sizeof reply}, {&out, sizeof out}};
    if (rc == 0)
        reply.len += (uint32_t)sizeof out;
    else
        reply.error = -fold_err_errno(rc);
    /* It fails only where nobody waits for the answer any more. */
    (void)hook_writev(l->fd, iov, rc == 0 ? 2 : 1, l->session);
    return true;
}

/* A copy of a request that waits for space. */
struct parked {
    struct fold_loop *loop;
    size_t len;
    uint8_t mem[];
};

static void process(struct fold_loop *l, uint8_t *mem, size_t len)
{
    look_at(l, mem, len);
    if (answer_statx(l, mem))
        return;
    struct fuse_buf request = {.size = len, .mem = mem};
    serving = true;
    fuse_session_process_buf(l->fuse, &request);
    serving = false;
}

static void unpark(void *arg)
{
    struct parked *p = arg;
    order_request();
    process(p->loop, p->mem, p->len);
    free(p);
}

/* True if the request waits: it would be refused, and a collection may make room for it. */
static bool park(struct fold_loop *l, const uint8_t *mem, size_t len)
{
    struct fold_waitroom *room = l->session->waitroom;
    uint64_t bytes = fold_growth_of(mem, len);
    if (FOLD_LIKELY(bytes == 0 || !fold_waitroom_advises(room, bytes)))
        return false;
    struct parked *p = malloc(sizeof *p + len);
    if (p == NULL)
        return false;
    p->loop = l;
    p->len = len;
    memcpy(p->mem, mem, len);
    bool waits = fold_waitroom_enter(room, bytes, unpark, p);
    if (!waits)
        free(p);
    return waits;
}

/* Handles a request with libfuse; `current` is the buffer it lies in, if it may be kept. */
static void dispatch(struct fold_loop *l, uint8_t *mem, size_t len)
{
    order_request();
    if (!park(l, mem, len))
        process(l, mem, len);
}

static void serve_ring(void *arg, uint8_t *request, size_t len, struct fold_buf *buf)
{
    current = buf;
    dispatch(arg, request, len);
    fold_buf_put(current);
    current = NULL;
}

static void nap(unsigned ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000l};
    nanosleep(&t, NULL);
}

/* 1 to go on, 0 when the session has ended, negative on failure. */
static int serve_one(struct fold_loop *l)
{
    if (current == NULL) {
        current = fold_bufpool_get(l->pool);
        /* The kernel keeps the requests meanwhile; a thread that ended would be lost for good. */
        if (current == NULL) {
            nap(SHORT_OF_MEMORY_MS);
            return 1;
        }
    }
    ssize_t n = read(l->fd, current->mem, current->cap);
    if (n < 0) {
        if (errno == EINTR || errno == EAGAIN || errno == ENOENT)
            return 1;
        return errno == ENODEV ? 0 : -errno;
    }
    if ((size_t)n < sizeof(struct fuse_in_header))
        return n == 0 ? 0 : -EIO;
    dispatch(l, current->mem, (size_t)n);
    /* A buffer that was kept, even if it has been given back meanwhile, returns to the pool with
     * its charge. */
    if (current->charged || atomic_load_explicit(&current->refs, memory_order_acquire) > 1) {
        fold_buf_put(current);
        current = NULL;
    }
    return 1;
}

static void *serve(struct fold_loop *l, bool first)
{
    int rc;
    while ((rc = serve_one(l)) > 0 && !fuse_session_exited(l->fuse)) {
        if (!fold_loop_on_ring(l))
            continue;
        if (!first)
            break; /* one is enough */
        nap(GATHER_MS);
    }
    fold_buf_put(current);
    current = NULL;
    if (rc < 0)
        fold_error("reading requests from the kernel: %s", fold_err_text(rc));
    return (void *)(intptr_t)(rc < 0 ? rc : 0);
}

static void *serve_thread(void *arg)
{
    pthread_setname_np(pthread_self(), "fold-loop");
    return serve(arg, false);
}

int fold_loop_run(struct fold_loop *l, unsigned threads)
{
    pthread_t more[64];
    unsigned started = 0;
    while (started + 1 < threads && started < FOLD_ARRAY_LEN(more)) {
        if (pthread_create(&more[started], NULL, serve_thread, l) != 0)
            break;
        started++;
    }
    int rc = (int)(intptr_t)serve(l, true);
    if (rc == 0) { /* nobody waits for a reply any more */
        atomic_store(&l->session->closing, true);
        fold_longs_stop(l->session->longs);
    }
    for (unsigned i = 0; i < started; i++) {
        void *ret;
        pthread_join(more[i], &ret);
        if (rc == 0)
            rc = (int)(intptr_t)ret;
    }
    /* What waits is answered while there is somebody to answer to. */
    fold_waitroom_close(l->session->waitroom);
    struct fold_ring *ring = atomic_load(&l->ring);
    if (ring != NULL)
        fold_ring_stop(ring);
    return rc;
}
