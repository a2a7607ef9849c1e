/* SPDX-License-Identifier: MIT */
/* A journal file: replaying it hands out whole records in rising order, whatever the bytes are; and
 * their data is read as batches. */
#include "meta/base/log.h"
#include "meta/journal_format.h"
#include "meta/replay.h"
#include "tests/fuzz/target.h"

#include <fcntl.h>
#include <stdio.h>

#define CRC_AT  4u
#define LEN_AT  8u
#define COVERED 8u /* the checksum covers what follows it */
#define RECORDS 16

static char dir[64];

static int take(void *arg, const struct fold_journal_record *rec)
{
    fold_lsn *last = arg;
    FOLD_HOLDS(rec->ndeps <= FOLD_STORE_MAX_DEPS && rec->note_len <= FOLD_JOURNAL_NOTE_MAX);
    FOLD_HOLDS(*last == 0 || rec->lsn == *last + 1);
    *last = rec->lsn;
    const uint8_t *p = rec->data;
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < rec->len; i++)
        sum = (uint8_t)(sum + p[i]);
    struct fold_replay *batches = fold_replay_create(NULL);
    (void)!fold_replay_add(batches, rec->data, rec->len);
    fold_replay_destroy(batches);
    return FOLD_JOURNAL_TAKEN;
}

static void replay(const uint8_t *data, size_t size)
{
    char path[96];
    struct fold_journal_replay out = {0};
    struct fold_journal_found *files = NULL;
    size_t count;
    fold_lsn last = 0;
    (void)snprintf(path, sizeof path, "%s/00000001.log", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FOLD_HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FOLD_HOLDS(dirfd >= 0);
    if (fold_journal_read_all(dirfd, take, &last, &out, &files, &count) == 0)
        free(files);
    close(dirfd);
    (void)unlink(path);
}

/* Gives header and leading records checksums that hold. */
static void seal(uint8_t *p, size_t size)
{
    if (size < FOLD_JOURNAL_HEADER_BYTES)
        return;
    uint32_t seed = fold_kernels()->crc32c(0, p, FOLD_JOURNAL_HEADER_BYTES - 4);
    fold_fuzz_seal(p + FOLD_JOURNAL_HEADER_BYTES - 4, seed);
    size_t at = FOLD_JOURNAL_HEADER_BYTES;
    for (int i = 0; i < RECORDS && at + FOLD_JOURNAL_FIXED_BYTES <= size; i++) {
        struct fold_rd r = fold_rd_init(p + at + LEN_AT, 4);
        uint64_t len = fold_rd_u32(&r);
        if (len < FOLD_JOURNAL_FIXED_BYTES || len > size - at)
            break;
        fold_fuzz_seal(p + at + CRC_AT,
                       fold_kernels()->crc32c(seed, p + at + COVERED, (size_t)len - COVERED));
        at += (size_t)len;
    }
}

static void remove_dir(void)
{
    (void)rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (dir[0] == '\0') {
        fold_log_set_level(FOLD_LOG_ERROR);
        (void)snprintf(dir, sizeof dir, "%s/fold-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        FOLD_HOLDS(mkdtemp(dir) != NULL);
        (void)atexit(remove_dir);
    }
    replay(data, size);
    uint8_t *copy = fold_fuzz_copy(data, size);
    seal(copy, size);
    replay(copy, size);
    free(copy);
    return 0;
}
