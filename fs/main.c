/* SPDX-License-Identifier: MIT */
/*
 * The program: everything is a verb. Standard descriptors that the caller closed are opened first:
 * a file of the store must not get the number that messages go to.
 */
#include "fs/cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The lowest free descriptor is the one that is missing. */
static bool open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!open_standard())
        return FOLD_EXIT_SYSTEM;
    return fold_verbs_main(argc, argv);
}
