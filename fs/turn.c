/* SPDX-License-Identifier: MIT */
/*
 * A list of requests beside the lock. Whoever drops the lock looks at the list afterwards, and who
 * enters it tries the lock once more afterwards: one of the two sees the other, so none is
 * forgotten. Each drop calls one; when that is through, the next is called.
 */
#include "fs/turn.h"

#include "fs/data.h"
#include "fs/session.h"
#include "meta/base/workers.h"

#include <assert.h>
#include <time.h>

/* Pause before memory for a task is asked for again. */
#define SHORT_OF_MEMORY_MS 20

void fold_turns_init(struct fold_turns *w)
{
    fold_lock_init(&w->lock, FOLD_RANK_LEAF, "turns");
    w->head = NULL;
    w->tail = &w->head;
}

void fold_turns_fini(struct fold_turns *w)
{
    assert(w->head == NULL);
    fold_lock_fini(&w->lock);
}

static void enter(struct fold_turns *w, struct fold_turn *t)
{
    t->next = NULL;
    fold_lock_take(&w->lock);
    *w->tail = t;
    w->tail = &t->next;
    fold_lock_drop(&w->lock);
}

/* False if it was called meanwhile, and may be gone. */
static bool withdraw(struct fold_turns *w, const struct fold_turn *t)
{
    fold_lock_take(&w->lock);
    struct fold_turn **at = &w->head;
    while (*at != NULL && *at != t)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found) {
        *at = t->next;
        if (*at == NULL)
            w->tail = at;
    }
    fold_lock_drop(&w->lock);
    return found;
}

static void run(void *arg)
{
    struct fold_turn t = *(struct fold_turn *)arg; /* gone when its request is */
    t.fn(t.arg);
    if (t.inode == NULL)
        return;
    /* It may have found that it does not need the lock any more: the next must not wait for it. */
    if (fold_turn_try(t.inode))
        fold_turn_drop(t.session, t.inode);
    fold_itable_put(t.session->inodes, t.inode);
}

static void call(struct fold_session *s, struct fold_inode *inode, struct fold_turn *t)
{
    t->called = true;
    t->session = s;
    t->inode = inode;
    /* Not here: the caller may hold the flush lock of another inode. */
    const struct timespec nap = {.tv_nsec = SHORT_OF_MEMORY_MS * 1000000};
    while (fold_workers_submit(s->workers, run, t) != 0)
        nanosleep(&nap, NULL);
}

void fold_turn_call(struct fold_session *s, struct fold_turn *t)
{
    call(s, NULL, t);
}

/* Calls the first. */
static void call_next(struct fold_session *s, struct fold_inode *inode)
{
    struct fold_turns *w = &inode->data->turns;
    fold_lock_take(&w->lock);
    struct fold_turn *t = w->head;
    if (t != NULL) {
        w->head = t->next;
        if (w->head == NULL)
            w->tail = &w->head;
    }
    fold_lock_drop(&w->lock);
    if (t == NULL)
        return;
    fold_itable_ref(s->inodes, inode);
    call(s, inode, t);
}

bool fold_turn_take(struct fold_session *s, struct fold_inode *inode, struct fold_turn *t)
{
    struct fold_data *d = inode->data;
    if (t == NULL || t->called) {
        fold_lock_take(&d->flush);
        return true;
    }
    if (fold_lock_try(&d->flush))
        return true;
    fold_itable_ref(s->inodes, inode); /* the request's own may go before we are through */
    enter(&d->turns, t);
    bool mine = false;
    if (fold_lock_try(&d->flush)) {
        mine = withdraw(&d->turns, t);
        if (!mine)
            fold_turn_drop(s, inode);
    }
    fold_itable_put(s->inodes, inode);
    return mine;
}

void fold_turn_wait(struct fold_inode *inode)
{
    fold_lock_take(&inode->data->flush);
}

bool fold_turn_try(struct fold_inode *inode)
{
    return fold_lock_try(&inode->data->flush);
}

void fold_turn_drop(struct fold_session *s, struct fold_inode *inode)
{
    fold_lock_drop(&inode->data->flush);
    call_next(s, inode);
}
