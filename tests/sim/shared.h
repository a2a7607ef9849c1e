/* SPDX-License-Identifier: MIT */
/*
 * What the simulator's two processes share: the one that plays kernel, programs and judge, and the
 * one that is the daemon of one life. Requests and replies lie in memory of both; pipes say when to
 * look. The daemon's side of the host (calls that change the store) is logged here, and the plan of
 * what is to go wrong lies here too, so that all of it is still there when the daemon is not.
 */
#ifndef FOLD_TESTS_SIM_SHARED_H
#define FOLD_TESTS_SIM_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_REQUEST_BYTES (1u << 20 | 16u << 10)
#define SIM_REPLY_BYTES   (4u << 20)
#define SIM_LOG_BYTES     (1ull << 30)
#define SIM_TEXT_BYTES    (64u << 10)

/* What the daemon is asked for besides requests of the kernel. */
enum sim_order {
    SIM_REQUEST,     /* a request of the kernel lies in `request` */
    SIM_SYNC,        /* flush everything and make it durable */
    SIM_DUE,         /* the same as the timer does it */
    SIM_COLLECT,     /* a collection as the background does it */
    SIM_COLLECT_ALL, /* gc --full */
    SIM_REFOLD,      /* what is noted for refolding */
    SIM_SCRUB,
    SIM_CHECKPOINT,
    SIM_CLOSE /* a clean unmount */
};

/* What the plan makes a call into the host do. */
enum sim_fault {
    SIM_NO_FAULT,
    SIM_KILL,      /* the process ends before the call */
    SIM_KILL_HALF, /* in the middle of a write, before any other call */
    SIM_EIO,
    SIM_ENOSPC,
    SIM_SHORT, /* a write ends early, with success */
    SIM_ENOMEM /* an allocation of our own code fails; calls are allocations then */
};

/* Kinds of calls, as bits. */
enum sim_calls {
    SIM_CALL_WRITE = 1,
    SIM_CALL_SYNC = 2,
    SIM_CALL_NAME = 4, /* open that creates, rename, unlink, mkdir, ... */
    SIM_CALL_SIZE = 8, /* truncate, fallocate */
    SIM_CALL_READ = 16 /* open, pread */
};

struct sim_plan {
    atomic_uint fault;       /* enum sim_fault */
    atomic_uint calls;       /* enum sim_calls that count */
    _Atomic uint64_t wait;   /* calls that still go well */
    _Atomic uint64_t repeat; /* calls that fail then */
    _Atomic uint64_t fired;  /* calls that failed */
};

/* Faults planted into the daemon on purpose: the simulator must find them. */
enum sim_plant {
    SIM_PLANT_NONE,
    SIM_PLANT_SKIP_SYNC,   /* fdatasync of the journal does nothing */
    SIM_PLANT_SKIP_DATA,   /* fdatasync of segments does nothing */
    SIM_PLANT_LOSE_WRITE,  /* every 4th write is answered and not carried out */
    SIM_PLANT_LOSE_RENAME, /* so is every rename */
    SIM_PLANT_STALE_READ,  /* the last byte of every 4th long reply is wrong */
    SIM_PLANT_COUNT
};

struct sim_shared {
    /* Of the daemon's life; written while it waits. */
    uint32_t order;
    uint32_t request_len;
    int32_t result; /* of an order */
    bool ready;     /* the session is open */
    bool closed;    /* and closed again, with `result` */
    uint32_t reply_used;
    uint32_t plant;
    uint64_t host_blocks; /* of 4096 bytes that the host says it has; 0: the truth */
    uint64_t host_free;
    struct sim_plan plan;
    _Atomic uint64_t writes; /* counts of calls, for the report */
    _Atomic uint64_t syncs;
    _Atomic uint64_t log_used;
    atomic_bool log_full;
    uint64_t random; /* of getrandom */
    uint32_t
        nested_len; /* a write request that comes in while the next order stores data; 0: none */
    char text[SIM_TEXT_BYTES];
    uint8_t request[SIM_REQUEST_BYTES];
    uint8_t nested[SIM_REQUEST_BYTES];
    uint8_t reply[SIM_REPLY_BYTES]; /* each a fuse_out_header and what follows */
    uint8_t log[];                  /* crashlog records */
};

/* host.c: from now on calls below `root` are logged and may fail. In the daemon's process only. */
void sim_host_begin(const char *root, struct sim_shared *shared);
struct sim_shared *sim_host_shared(void); /* NULL before */
bool sim_host_tracked(int fd);
/* A path /proc/self/fd/N/... relative to N, which becomes *dirfd; others as they are. */
const char *sim_host_shorter(int *dirfd, const char *name);
/* The descriptor that stands for /dev/fuse. */
void sim_host_device(int fd);

/* What the plan wants of a call; -1 with errno if that is that it fails; the end of the process. */
enum sim_fault sim_host_planned(enum sim_calls call);
int sim_host_refused(enum sim_calls call);
void sim_host_die(void);

/* Called for reads and writes of that descriptor; host.c calls, daemon.c defines. */
struct iovec;
long sim_device_read(void *buf, size_t len);
long sim_device_write(const struct iovec *iov, int count);

/* Called before data is written to the store. */
void sim_device_storing(void);

#endif
