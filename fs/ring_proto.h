/* SPDX-License-Identifier: MIT */
/*
 * What the kernel and a FUSE daemon say to each other over io_uring (Linux 6.14 and newer). The
 * kernel headers of the oldest system we build on do not have it. Fields are in host byte order.
 */
#ifndef FOLD_FS_RING_PROTO_H
#define FOLD_FS_RING_PROTO_H

#include <assert.h>
#include <stdint.h>

/* In the 64-bit flag word of INIT: offered by a kernel that allows it, set by a daemon that wants
 * it. From the INIT reply on requests wait until every queue has an entry. */
#define FOLD_RING_INIT_FLAG (1ull << 41)

/* IORING_OP_URING_CMD on the descriptor of /dev/fuse, in an SQE of 128 bytes. */
enum fold_ring_op {
    FOLD_RING_REGISTER = 1, /* addr and len: two iovecs, a fold_ring_header and the payload */
    FOLD_RING_COMMIT = 2    /* the reply is in place; completes with the entry's next request */
};

/* The command area of the SQE. */
struct fold_ring_cmd {
    uint64_t flags;     /* 0 */
    uint64_t commit_id; /* of the request that a commit answers */
    uint16_t queue;     /* number of the processor that the queue belongs to */
    uint8_t padding[6];
};

struct fold_ring_info {
    uint64_t flags;
    uint64_t commit_id;    /* set by the kernel */
    uint32_t payload_size; /* bytes in the payload, set by whoever filled it */
    uint32_t padding;
    uint64_t reserved;
};

/* The fixed part of an entry. What /dev/fuse hands over in one piece is split: the header and the
 * first argument of the request lie here, whatever follows is the payload. */
struct fold_ring_header {
    uint8_t in_out[128];   /* struct fuse_in_header, overwritten by struct fuse_out_header */
    uint8_t argument[128]; /* struct fuse_write_in and the like */
    struct fold_ring_info info;
};

static_assert(sizeof(struct fold_ring_cmd) == 24, "fixed by the kernel");
static_assert(sizeof(struct fold_ring_info) == 32, "fixed by the kernel");
static_assert(sizeof(struct fold_ring_header) == 288, "fixed by the kernel");

#endif
