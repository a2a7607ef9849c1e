/* SPDX-License-Identifier: MIT */
/*
 * Tells a stream of reads from scattered ones, and has the segments in front of a stream read into
 * memory by the worker pool. One state per open file; threads that answer reads of the same file
 * share it without a lock, since all it decides is what to read early.
 */
#ifndef FOLD_FS_READAHEAD_H
#define FOLD_FS_READAHEAD_H

#include "fs/itable.h"

#include <stdatomic.h>

struct fold_session;

/* Zeroed: nothing was read yet. */
struct fold_readahead {
    _Atomic uint64_t next; /* end of the last read */
    _Atomic uint64_t run;  /* bytes read in sequence up to there */
    _Atomic uint64_t done; /* asked for ahead up to this file offset */
};

/*
 * Notes a read of [off, end), end > off. Returns how many bytes the stream that it belongs to has
 * read, this request included; 0 if it follows from nothing. Requests of one stream may come in
 * another order than the kernel sent them; a file is expected to be read from its start.
 */
uint64_t fold_readahead_note(struct fold_readahead *a, uint64_t off, uint64_t end);

/*
 * After a read up to `end` in a stream of `run` bytes: true if *len bytes from *from on should be
 * asked for now. The longer the stream, the further ahead; a new one must first show itself.
 */
bool fold_readahead_range(struct fold_readahead *a, uint64_t end, uint64_t run, uint64_t *from,
                          uint64_t *len);

/* Queues the reading of a range of the file; failing is no harm. The caller's reference on the
 * inode is taken over. */
void fold_readahead_start(struct fold_session *s, struct fold_inode *inode, uint64_t from,
                          uint64_t len);

#endif
