/* SPDX-License-Identifier: MIT */
/*
 * Inodes in memory. An inode object exists while it is referenced, open, dirty or without a name,
 * and for a while after (a bounded cache). What the kernel has looked up is only counted (at most
 * 24 bytes each, given back as it forgets). The object is the truth about its inode; the catalog
 * may lag behind in size, times and data (see fs/flush.h).
 */
#ifndef FOLD_FS_ITABLE_H
#define FOLD_FS_ITABLE_H

#include "meta/base/lock.h"
#include "meta/types.h"

#include <stdatomic.h>
#include <sys/stat.h>

struct fold_itable;
struct fold_catalog;
struct fold_data;
struct fold_session;

struct fold_inode {
    fold_ino ino;  /* fixed */
    uint32_t type; /* fixed: the S_IFMT bits of the mode */

    struct fold_lock names; /* directories: rank DIR, held across every change of the entries */
    struct fold_lock lock;  /* rank ATTR; guards the members below */
    struct fold_attr attr;  /* as users see it now, but `mapped` is what the catalog has */
    uint64_t
        disk_size; /* size the catalog may state: no unwritten byte lies below it (regular files) */
    uint64_t shown_size;  /* others are shown no greater size for now (fs/direct.h) */
    bool attr_dirty;      /* attr differs from the catalog in times or size */
    bool ghost;           /* removed from the catalog; lives until the kernel forgets it */
    bool unnamed;         /* made without a name, had none yet: may be given one */
    bool no_capabilities; /* looked for file capabilities: there are none */
    uint32_t opens;       /* open handles */
    uint32_t changes;     /* of attributes, made here by ourselves (fs/invalidate.h) */
    uint32_t told;        /* up to which of them the kernel was told */

    uint64_t
        names_version; /* directories: rises with each change of the entries; guarded by `names` */

    struct fold_data
        *data; /* regular files, from first use of their content on (fs/data.h); fixed once set */

    /* private to the table, guarded by its shard */
    uint32_t refs;
    uint32_t gets;     /* references ever taken, to notice those that came and went */
    uint8_t list;      /* which of the shard's lists it is on */
    bool forgettable;  /* a ghost: freed with its last reference */
    bool kernel_holds; /* a reference stands for the kernel's lookups of a ghost */
    struct fold_inode *hash_next;
    struct fold_inode *lru_prev, *lru_next;
};

/*
 * The attributes as the catalog may state them now: a file's size never covers bytes that are not
 * stored yet.
 */
static inline struct fold_attr fold_inode_attr_for_disk(const struct fold_inode *inode)
    FOLD_REQUIRES(inode->lock)
{
    struct fold_attr attr = inode->attr;
    if (S_ISREG(attr.mode))
        attr.size = inode->disk_size;
    return attr;
}

/* `cached`: how many unreferenced objects are kept. -ENOMEM. */
int fold_itable_create(struct fold_catalog *catalog, size_t cached,
                       struct fold_itable **out) FOLD_MUST;

/* The session that fold_data_destroy is given when objects go. Set once, before use. */
void fold_itable_set_session(struct fold_itable *t, struct fold_session *s);

/* All references must be gone. What only the kernel's lookups held is freed. */
void fold_itable_destroy(struct fold_itable *t);

/* References the inode, loading it if needed. -ESTALE if it does not exist, -FOLD_E_BAD_CATALOG,
 * -ENOMEM. */
int fold_itable_get(struct fold_itable *t, fold_ino ino, struct fold_inode **out) FOLD_MUST;

/* As get, but only if the inode is in memory: -ENOENT if not (the catalog then is the truth about
 * it). */
int fold_itable_find(struct fold_itable *t, fold_ino ino, struct fold_inode **out) FOLD_MUST;

/*
 * Brings those of the inodes that are not in memory there, all in one pass, as if they had just
 * been used. `inos` is in rising order, at most FOLD_PRELOAD_MAX. What fails is left to
 * fold_itable_get.
 */
#define FOLD_PRELOAD_MAX 128u
void fold_itable_preload(struct fold_itable *t, const fold_ino *inos, size_t n);

/* Enters an inode just created (not yet in the catalog, or just committed) and references it.
 * -ENOMEM. */
int fold_itable_add(struct fold_itable *t, const struct fold_attr *attr,
                    struct fold_inode **out) FOLD_MUST;

/* One more reference to an inode already referenced. */
void fold_itable_ref(struct fold_itable *t, struct fold_inode *inode);

/* Drops a reference. NULL is fine. The caller holds no lock of rank INODE or later. */
void fold_itable_put(struct fold_itable *t, struct fold_inode *inode);

/*
 * Kernel lookups. `lookup` counts one more (call before the reply is sent). `forget` counts n less;
 * when none is left and the inode is a ghost, the reference that kept the ghost is dropped.
 */
int fold_itable_lookup(struct fold_itable *t, fold_ino ino) FOLD_MUST;
void fold_itable_forget(struct fold_itable *t, fold_ino ino, uint64_t n);

/* Marks the inode a ghost: it stays in memory until the kernel has forgotten it. Inode lock held.
 */
void fold_itable_ghost_locked(struct fold_itable *t, struct fold_inode *inode)
    FOLD_REQUIRES(inode->lock);

/* Calls `fn` with a reference on each inode in memory that is dirty (attr_dirty); used by the
 * background commit. */
void fold_itable_each_dirty(struct fold_itable *t, void (*fn)(void *arg, struct fold_inode *inode),
                            void *arg);

#endif
