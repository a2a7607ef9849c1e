/* SPDX-License-Identifier: MIT */
/*
 * The journal of commits: files journal/NNNNNNNN.log of checksummed records. An appended record
 * survives the death of the process at once and a power cut after fold_journal_sync. Files are
 * recycled: the checksum of a record covers the file's number and salt, so bytes of a former life
 * never pass for records.
 *
 * Append, take_back, rotate and pending: one caller at a time (the holder of the commit lock).
 * Prepare and retire: one caller at a time (the checkpoint). Sync and bytes: any thread.
 */
#ifndef FOLD_META_JOURNAL_H
#define FOLD_META_JOURNAL_H

#include "meta/store.h"
#include "meta/types.h"

#define FOLD_JOURNAL_NOTE_MAX 96

struct fold_journal;

struct fold_journal_record {
    fold_lsn lsn;
    const struct fold_dep *deps; /* what must be in the blob area for the record to count */
    size_t ndeps;
    const void *note; /* at most FOLD_JOURNAL_NOTE_MAX bytes beside the data */
    size_t note_len;
    const void *data;
    size_t len;
};

/* Creates journal/ (empty). */
int fold_journal_format(int storefd) FOLD_MUST;

/* Opens journal/ below `storefd` for replay. */
int fold_journal_open(int storefd, bool read_only, struct fold_journal **out) FOLD_MUST;

struct fold_journal_replay {
    uint64_t records; /* handed to the callback and taken by it */
    uint64_t dropped; /* whole records behind the point where replay stopped */
    uint64_t bytes;   /* of the records handed out */
    bool damaged; /* replay stopped at a torn record although whole ones of a later file follow */
};

/*
 * Hands out the records in order, up to the first that is torn or does not follow the lsn taken
 * before. `fn` returns one of the verdicts below, or an error that ends the replay.
 */
enum fold_journal_verdict {
    FOLD_JOURNAL_TAKEN, /* replayed: to be kept until the file is retired */
    FOLD_JOURNAL_STOP,  /* this record and all behind it do not count */
    FOLD_JOURNAL_KNOWN  /* not needed, go on */
};
typedef int (*fold_journal_fn)(void *arg, const struct fold_journal_record *rec);
int fold_journal_replay(struct fold_journal *j, fold_journal_fn fn, void *arg,
                        struct fold_journal_replay *out) FOLD_MUST;

/*
 * Goes on after a replay: files with records that were taken stay until retired (synced, so these
 * commits are durable now), what did not count is cut off and can never come back, and a fresh file
 * is begun. Appending is possible from here on.
 */
int fold_journal_resume(struct fold_journal *j) FOLD_MUST;

/* Appends a record. On failure (-ENOSPC, -EIO, ...) it is as if it had not been tried; -FOLD_E_SICK
 * if even that failed. */
int fold_journal_append(struct fold_journal *j, const struct fold_journal_record *rec) FOLD_MUST;

/* Makes the last append undone (it must not have been synced or acknowledged). */
int fold_journal_take_back(struct fold_journal *j) FOLD_MUST;

/* Makes everything appended before durable. A failure is final: all later calls fail with it. */
int fold_journal_sync(struct fold_journal *j) FOLD_MUST;

/* Has the next file ready, so that rotate cannot fail. */
int fold_journal_prepare(struct fold_journal *j) FOLD_MUST;

/* Goes on in the next file (which must be prepared). The file left behind must have been synced. */
void fold_journal_rotate(struct fold_journal *j);

/* While `lean`, recycled files give their blocks back to the host instead of keeping them for the
 * next records. */
void fold_journal_lean(struct fold_journal *j, bool lean);

/* Gives up the files before the current one; one of them is recycled. Failures only cost space and
 * are logged. */
void fold_journal_retire(struct fold_journal *j);

/* Bytes appended to files that are not retired yet. */
uint64_t fold_journal_pending(const struct fold_journal *j);

/* Bytes the files occupy on the host. */
uint64_t fold_journal_bytes(struct fold_journal *j);

/* `trim`: nothing in the journal is needed any more, give most of its space back. */
void fold_journal_close(struct fold_journal *j, bool trim);

#endif
