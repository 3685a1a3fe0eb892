#include "sel_cuts.h"

#include <string.h>

#include "sel_store.h"

typedef struct {
    const sel_scenario_t *scenario;
    const sel_step_t *step; /* the last */
    sel_rig_t *start;       /* as it is before that */
    sel_rig_t *rig;
    uint64_t counter_before, counter_after;
    uint32_t operations;
    sel_cuts_t *cuts;
} run_t;

static int is_installation(const run_t *run)
{
    return run->step->action == SEL_INSTALL;
}

/* Whether the rig runs just this network. */
static int is_network(const sel_rig_t *rig, const sel_expected_t *expected, const uint8_t *input)
{
    static uint8_t content[1u << 16];
    uint32_t bytes = sel_rig_content(rig, content, sizeof content);
    return bytes == expected->content_bytes && memcmp(content, expected->content, bytes) == 0 &&
           memcmp(sel_rig_infer(rig, input), expected->logits, expected->classes * sizeof(int16_t)) == 0;
}

/* Counts what is wrong with the network in use after a cut. */
static void check_network(const run_t *run)
{
    const sel_scenario_t *scenario = run->scenario;
    const sel_overlay_t *overlay = &run->rig->overlay;
    int is_new = memcmp(overlay->hash, scenario->after.hash, sizeof overlay->hash) == 0;
    const sel_expected_t *expected = is_new ? &scenario->after : &scenario->before;
    if (memcmp(overlay->hash, expected->hash, sizeof overlay->hash) != 0 || overlay->is_damaged ||
        overlay->counter != (is_new ? run->counter_after : run->counter_before)) {
        run->cuts->bricks++;
    } else if (!is_network(run->rig, expected, scenario->input)) {
        run->cuts->corrupted++;
    }
}

/* Counts earlier steps that can be done again, but for the one that nothing has followed yet. */
static void check_replays(const run_t *run)
{
    for (uint32_t i = 0; i + 1 < run->scenario->step_count; i++) {
        const sel_step_t *step = &run->scenario->steps[i];
        uint64_t operations = run->rig->power.operations;
        if (step->action != SEL_PUSH_PART) {
            (void)sel_rig_step(run->rig, step);
            run->cuts->replays += run->rig->power.operations != operations;
        }
    }
}

/* Counts a damaged image that can be opened. */
static void check_image(const run_t *run)
{
    const sel_expected_t *images[2] = {&run->scenario->before, &run->scenario->after};
    sel_image_t image;
    uint32_t reason;
    if (sel_store_open(sel_flash_sim_port(run->rig->partition), &image, &reason) != SEL_OK) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (image.bytes == images[i]->content_bytes &&
            memcmp(image.base, images[i]->content, image.bytes) == 0) {
            return;
        }
    }
    run->cuts->corrupted++;
}

/* Whether a step has been done and stays done. */
static int is_done(const run_t *run, const sel_expected_t *expected)
{
    if (is_installation(run)) {
        sel_image_t image;
        uint32_t reason;
        return sel_store_open(sel_flash_sim_port(run->rig->partition), &image, &reason) == SEL_OK &&
               memcmp(sel_image_hash(&image), expected->hash, 32) == 0;
    }
    return memcmp(run->rig->overlay.hash, expected->hash, 32) == 0 &&
           is_network(run->rig, expected, run->scenario->input);
}

static void check(const run_t *run, int takes_other)
{
    const sel_scenario_t *scenario = run->scenario;
    const sel_step_t *step = run->step;
    const sel_expected_t *expected = &scenario->after;
    sel_rig_start(run->rig);
    if (is_installation(run)) {
        check_image(run);
    } else {
        check_network(run);
        check_replays(run);
    }
    if (takes_other && !is_done(run, expected)) {
        step = &scenario->other;
        expected = &scenario->after_other;
    }
    if (sel_rig_step(run->rig, step) != SEL_OK || !is_done(run, expected)) {
        run->cuts->bricks++;
        return;
    }
    sel_rig_start(run->rig);
    run->cuts->bricks += !is_done(run, expected);
}

static uint32_t mixed(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t hash = (a * 0x9E3779B1u) ^ (b * 0x85EBCA77u) ^ (c * 0xC2B2AE3Du);
    hash = (hash ^ (hash >> 15)) * 0x2C1B3C6Du;
    return hash ^ (hash >> 13);
}

/* Runs the step until the power fails in an operation, if it comes so far. */
static void cut_step(const run_t *run, uint32_t operation, uint32_t share, uint32_t seed)
{
    sel_rig_start(run->rig);
    sel_rig_cut(run->rig, operation, share, seed % 4 == 0, seed);
    (void)sel_rig_step(run->rig, run->step);
    run->cuts->cuts += run->rig->power.is_off;
}

static void run_way(const run_t *run, uint32_t operation, uint32_t way, uint32_t ways, uint32_t seed)
{
    uint32_t random = mixed(operation, way, seed);
    sel_rig_copy(run->rig, run->start);
    cut_step(run, operation, (uint32_t)(((uint64_t)way << 16) / ways), random);
    if (way % 2 == 1) {
        uint32_t again = mixed(random, way, operation);
        cut_step(run, 1 + again % run->operations, again >> 16, again);
    }
    check(run, way / 2 % 2);
}

/* The steps before the last one, and the last one once, to know what it takes. */
static int prepare(run_t *run)
{
    const sel_scenario_t *scenario = run->scenario;
    for (uint32_t i = 0; i + 1 < scenario->step_count; i++) {
        if (sel_rig_step(run->start, &scenario->steps[i]) != SEL_OK) {
            return 1;
        }
    }
    run->counter_before = run->start->overlay.counter;
    sel_rig_copy(run->rig, run->start);
    sel_rig_start(run->rig);
    run->rig->power.operations = 0;
    if (sel_rig_step(run->rig, run->step) != SEL_OK) {
        return 1;
    }
    run->operations = (uint32_t)run->rig->power.operations;
    run->counter_after = run->rig->overlay.counter;
    return !is_done(run, &scenario->after);
}

int sel_cuts_run(const sel_scenario_t *scenario, uint32_t ways, uint32_t seed, sel_cuts_t *cuts)
{
    sel_rig_t *rigs[2];
    int has_failed;
    for (int i = 0; i < 2; i++) {
        rigs[i] = sel_rig_new(scenario->image, scenario->image_bytes, scenario->area_bytes,
                              scenario->partition_bytes);
    }
    has_failed = rigs[0] == NULL || rigs[1] == NULL;
    if (!has_failed) {
        run_t run = {scenario, scenario->steps + scenario->step_count - 1, rigs[0], rigs[1], 0, 0, 0, cuts};
        has_failed = prepare(&run);
        for (uint32_t operation = 1; !has_failed && operation <= run.operations; operation++) {
            for (uint32_t way = 0; way < ways; way++) {
                run_way(&run, operation, way, ways, seed);
            }
        }
        cuts->operations += run.operations;
        cuts->violations += rigs[0]->power.violations + rigs[1]->power.violations;
    }
    for (int i = 0; i < 2; i++) {
        if (rigs[i] != NULL) {
            sel_rig_free(rigs[i]);
        }
    }
    return has_failed;
}
