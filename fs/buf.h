/* SPDX-License-Identifier: MIT */
/*
 * Reference-counted memory that dirty data lives in: request buffers taken over from the request
 * loop, and arenas that small writes are copied to. What is held by dirty data is charged to the
 * memory budget. Thread-safe.
 */
#ifndef FOLD_FS_BUF_H
#define FOLD_FS_BUF_H

#include "meta/base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>

struct fold_budget;
struct fold_bufpool;

struct fold_buf {
    atomic_uint refs;
    bool charged; /* to the budget; set once by fold_buf_charge */
    size_t cap;   /* bytes at mem; fixed */
    size_t used;  /* arenas: bytes handed out; guarded by the data map lock of the inode */
    uint8_t *mem;
    struct fold_budget *budget;
    struct fold_bufpool *pool; /* request buffers go back there; NULL for arenas */
    struct fold_buf *next_free;
};

/* An arena of `cap` bytes with one reference, charged to the budget. NULL if out of memory. */
struct fold_buf *fold_buf_arena(struct fold_budget *budget, size_t cap);

/* Charges a request buffer that dirty data is going to keep (once; later calls do nothing). One
 * thread at a time. */
void fold_buf_charge(struct fold_buf *b, struct fold_budget *budget);

static inline void fold_buf_ref(struct fold_buf *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

/* Drops a reference; the last one gives the memory back. NULL is fine. */
void fold_buf_put(struct fold_buf *b);

/*
 * The pool of request buffers: `cap` usable bytes each, of which offset `lead` is page-aligned (so
 * that the payload of a write request is). At most `keep` free ones are kept.
 */
int fold_bufpool_create(size_t cap, size_t lead, unsigned keep,
                        struct fold_bufpool **out) FOLD_MUST;

/* All buffers must have come back. */
void fold_bufpool_destroy(struct fold_bufpool *p);

/* A buffer with one reference. NULL if out of memory. */
struct fold_buf *fold_bufpool_get(struct fold_bufpool *p);

/*
 * For a buffer that the kernel writes to at a fixed address: moves what `fixed` holds into `fresh`,
 * both of this pool and with no other user, without copying. `fixed` keeps its address and gets the
 * pages that `fresh` had; `fresh` gets another address. `*spare` is address space from
 * fold_bufpool_spare, and is exchanged for another piece. -errno: nothing has changed.
 */
int fold_bufpool_move(struct fold_bufpool *p, struct fold_buf *fixed, struct fold_buf *fresh,
                      void **spare) FOLD_MUST;

/* Address space for fold_bufpool_move, without memory; NULL if there is none. */
void *fold_bufpool_spare(const struct fold_bufpool *p);
void fold_bufpool_spare_free(const struct fold_bufpool *p, void *spare);

#endif
