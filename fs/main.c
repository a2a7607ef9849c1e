/* SPDX-License-Identifier: MIT */
/*
 * The program: everything is a verb.
 */
#include "fs/cli/verbs.h"

int main(int argc, char **argv)
{
    return fold_verbs_main(argc, argv);
}
