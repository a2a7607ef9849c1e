/* SPDX-License-Identifier: MIT */
/*
 * Everything a mounted volume holds, and the order of opening and closing it.
 */
#ifndef FOLD_FS_SESSION_H
#define FOLD_FS_SESSION_H

#include "chunker/cutter.h"
#include "fs/itable.h"
#include "fs/options.h"
#include "meta/volume.h"

struct fuse_session;
struct fold_ballast;
struct fold_budget;
struct fold_callbacks;
struct fold_chunkcache;
struct fold_collector;
struct fold_waitroom;
struct fold_control;
struct fold_dedup;
struct fold_flusher;
struct fold_gate;
struct fold_handles;
struct fold_longs;
struct fold_loop;
struct fold_pagecache;
struct fold_refolder;
struct fold_workers;

struct fold_session {
    struct fold_mount_options opt; /* fixed after open */
    struct fold_volume *volume;
    struct fold_itable *inodes;
    struct fold_handles *handles; /* open files */
    struct fold_cut cut;          /* how the volume chunks; fixed */
    struct fold_dedup *dedup;
    struct fold_workers *workers;
    struct fold_longs *longs;         /* requests that take long */
    struct fold_callbacks *callbacks; /* requests that wait for the kernel */
    struct fold_gate
        *gate; /* around everything that holds chunk locations outside of the catalog */
    struct fold_ballast *ballast; /* NULL on a read-only mount */
    struct fold_budget *budget;
    struct fold_flusher *flusher;
    struct fold_chunkcache *chunks;
    struct fold_collector *collector; /* NULL on a read-only mount */
    struct fold_waitroom *waitroom;   /* likewise */
    struct fold_pagecache *pages;
    struct fold_refolder *refolder; /* NULL on a read-only mount */
    struct fold_control *control;
    _Atomic(struct fold_loop *) loop; /* NULL until mounted */
    struct fuse_session *fuse;
    _Atomic(const char *) mountpoint; /* where it is to be mounted, or NULL; set by the driver */
    _Atomic uint64_t device;          /* of the mount; 0 until mounted */
    atomic_bool closing;              /* set once, when the kernel has ended the mount */
    _Atomic int64_t space_left;       /* fs/space.c: bytes that may still be accepted */
    _Atomic uint64_t space_seen_ms;   /* fs/space.c: when the host was asked */
    _Atomic uint64_t space_claimed;   /* fs/space.c: bytes being stored */
    atomic_uint fsyncs;               /* running now */
    bool direct_io_ok; /* the kernel accepted the flags that make direct and cached handles coherent
                        */
};

/* Opens the volume and all that serves it. On failure everything is undone. */
int fold_session_open(const char *store, const struct fold_mount_options *opt,
                      struct fold_session **out) FOLD_MUST;

/* Makes everything durable and closes. Returns the first error. */
int fold_session_close(struct fold_session *s);

static inline struct fold_catalog *fold_session_catalog(const struct fold_session *s)
{
    return s->volume->catalog;
}

#endif
