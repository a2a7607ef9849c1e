/* SPDX-License-Identifier: MIT */
/*
 * Whose turn it is to work on an inode's content: the flush lock, and the requests that wait for it
 * without keeping a thread. A flush may take seconds, and the threads of the request loop are few:
 * one that finds the lock taken leaves its request here, and goes on with the next. The flush lock
 * is taken and dropped by these functions only.
 */
#ifndef FOLD_FS_TURN_H
#define FOLD_FS_TURN_H

#include "meta/base/lock.h"

struct fold_inode;
struct fold_session;

/* A request that can wait: part of what is allocated for it; zeros but for the first two. */
struct fold_turn {
    void (*fn)(void *arg); /* begins the request anew */
    void *arg;
    bool called; /* it has waited: next time it takes the lock whatever that takes */
    struct fold_session *session;
    struct fold_inode *inode; /* it was called for, with a reference; or NULL */
    struct fold_turn *next;
};

/* What functions return that left the request waiting. */
#define FOLD_TURN_WAITS 1

/* Part of fold_data. */
struct fold_turns {
    struct fold_lock lock; /* rank LEAF */
    struct fold_turn *head, **tail;
};

void fold_turns_init(struct fold_turns *w);
void fold_turns_fini(struct fold_turns *w); /* nobody may wait */

/*
 * Takes the flush lock of an inode that has data and is referenced. True: it is held. With `t` NULL
 * or called already, that is always so. False: the lock is taken, and fn(arg) will be run on the
 * worker pool when it is dropped, or runs by now: the caller must not touch the request any more,
 * nor any reference that belongs to it.
 */
bool fold_turn_take(struct fold_session *s, struct fold_inode *inode,
                    struct fold_turn *t) FOLD_MUST FOLD_NO_ANALYSIS;

/* The same without a request that could wait: takes the lock. */
void fold_turn_wait(struct fold_inode *inode) FOLD_NO_ANALYSIS;

/* Takes the lock if nobody has it. */
bool fold_turn_try(struct fold_inode *inode) FOLD_MUST FOLD_NO_ANALYSIS;

/* Drops the flush lock and calls the first that waits. The inode is referenced; no lock of rank
 * INODE or later is held. */
void fold_turn_drop(struct fold_session *s, struct fold_inode *inode) FOLD_NO_ANALYSIS;

/* Lets the worker pool run fn(arg), which may have begun on return, as if it had waited. */
void fold_turn_call(struct fold_session *s, struct fold_turn *t);

#endif
