/* SPDX-License-Identifier: MIT */
/*
 * One structure of plain numbers, and a table that names its members. Nothing is locked: tests set
 * knobs before they start anything.
 */
#include "meta/base/knob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fold_knobs fold_knobs = {
#define FOLD_KNOB(name, value, least, what) .name = (value),
#include "meta/base/knob.def"
#undef FOLD_KNOB
};

static const struct fold_knob list[] = {
#define FOLD_KNOB(name, value, least, what) {#name, (value), (least), (what), &fold_knobs.name},
#include "meta/base/knob.def"
#undef FOLD_KNOB
};

#define COUNT (sizeof list / sizeof list[0])

const struct fold_knob *fold_knob_list(size_t *count)
{
    *count = COUNT;
    return list;
}

void fold_knobs_reset(void)
{
    for (size_t i = 0; i < COUNT; i++)
        *list[i].value = list[i].standard;
}

static const struct fold_knob *find(const char *name, size_t len)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strlen(list[i].name) == len && memcmp(list[i].name, name, len) == 0)
            return &list[i];
    return NULL;
}

int fold_knobs_set(const char *text)
{
    struct fold_knobs before = fold_knobs;
    int rc = 0;
    for (const char *at = text; rc == 0 && *at != '\0';) {
        const char *equals = strchr(at, '=');
        const struct fold_knob *knob = equals != NULL ? find(at, (size_t)(equals - at)) : NULL;
        rc = -EINVAL;
        if (knob == NULL || equals[1] < '0' || equals[1] > '9')
            break;
        char *end;
        errno = 0;
        uint64_t value = strtoull(equals + 1, &end, 10);
        if (errno != 0 || (*end != ',' && *end != '\0') || value < knob->least ||
            value > knob->standard)
            break;
        *knob->value = value;
        at = *end == ',' ? end + 1 : end;
        rc = 0;
    }
    if (rc != 0)
        fold_knobs = before;
    return rc;
}
