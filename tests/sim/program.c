/* SPDX-License-Identifier: MIT */
/*
 * The text has a line for each step and a few for how the volume is made.
 */
#include "tests/sim/program.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned args;
} kinds[] = {
#define SIM_STEP(name, args, what) {#name, args},
#include "tests/sim/step.def"
#undef SIM_STEP
};

void sim_step_write(const struct sim_step *s, FILE *out)
{
    (void)fprintf(out, "%s", kinds[s->kind].name);
    for (unsigned i = 0; i < kinds[s->kind].args; i++)
        (void)fprintf(out, " %" PRIu64, s->a[i]);
    (void)fprintf(out, "\n");
}

void sim_program_write(const struct sim_program *p, FILE *out)
{
    (void)fprintf(out, "seed %" PRIu64 "\n", p->seed);
    (void)fprintf(out, "mkfs %u %u %u %u\n", p->chunker, p->hash, p->codec, p->chunk_size);
    (void)fprintf(out, "mount %s\n", p->options);
    if (p->knobs[0] != '\0')
        (void)fprintf(out, "knobs %s\n", p->knobs);
    if (p->host_blocks != 0)
        (void)fprintf(out, "room %" PRIu64 " %" PRIu64 "\n", p->host_blocks, p->host_free);
    if (p->threads)
        (void)fprintf(out, "threads\n");
    for (size_t i = 0; i < p->count; i++)
        sim_step_write(&p->steps[i], out);
}

static bool read_head(struct sim_program *p, const char *line)
{
    char word[16] = "";
    if (sscanf(line, "seed %" SCNu64, &p->seed) == 1 ||
        sscanf(line, "mkfs %u %u %u %u", &p->chunker, &p->hash, &p->codec, &p->chunk_size) == 4 ||
        sscanf(line, "mount %255s", p->options) == 1 ||
        sscanf(line, "knobs %1023s", p->knobs) == 1 ||
        sscanf(line, "room %" SCNu64 " %" SCNu64, &p->host_blocks, &p->host_free) == 2)
        return true;
    if (sscanf(line, "%15s", word) == 1 && strcmp(word, "threads") == 0)
        p->threads = true;
    return p->threads && strcmp(word, "threads") == 0;
}

static bool read_step(struct sim_program *p, const char *line)
{
    char word[16];
    int used = 0;
    if (sscanf(line, "%15s%n", word, &used) != 1 || p->count == SIM_STEPS)
        return false;
    struct sim_step s = {0};
    while (s.kind < SIM_STEP_KINDS && strcmp(kinds[s.kind].name, word) != 0)
        s.kind++;
    if (s.kind == SIM_STEP_KINDS)
        return false;
    const char *at = line + used;
    for (unsigned i = 0; i < kinds[s.kind].args; i++, at += used)
        if (sscanf(at, "%" SCNu64 "%n", &s.a[i], &used) != 1)
            return false;
    p->steps[p->count++] = s;
    return true;
}

bool sim_program_read(struct sim_program *p, FILE *in)
{
    char line[2048];
    memset(p, 0, sizeof *p);
    while (fgets(line, sizeof line, in) != NULL) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (!read_head(p, line) && !read_step(p, line)) {
            (void)fprintf(stderr, "not a step: %s", line);
            return false;
        }
    }
    return true;
}
