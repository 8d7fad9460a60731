#include <stdlib.h>

#include "agent/log/engine_internal.h"

/* Waits look at their condition again after this long, whatever happens. */
#define PIPELINE_WAIT_MS 1000

static ShFlight *find_ready(const ShPipeline *pipeline);

ShStatus sh_pipeline_init(ShPipeline *pipeline, int count_max, ShError *err)
{
    *pipeline = (ShPipeline){.count_max = count_max};
    pthread_mutex_init(&pipeline->lock, NULL);
    return sh_cond_init(&pipeline->changed, err);
}

ShStatus sh_pipeline_start(ShEngine *engine, ShError *err)
{
    ShPipeline *pipeline = &engine->pipeline;
    size_t uploads = (size_t)engine->config->uploads_max;
    pipeline->uploaders = calloc(uploads, sizeof *pipeline->uploaders);
    if (pipeline->uploaders == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu upload threads", uploads);
    while (pipeline->uploader_count < uploads) {
        pthread_t *thread = &pipeline->uploaders[pipeline->uploader_count];
        ShStatus status = sh_thread_start(thread, "sh-upload", sh_upload_run, engine, err);
        if (status != SH_OK)
            return status;
        pipeline->uploader_count++;
    }
    ShStatus status = sh_engine_pg(engine, "publish", &pipeline->publish_pg, err);
    if (status != SH_OK)
        return status;
    status = sh_thread_start(&pipeline->publisher, "sh-publish", sh_publish_run, engine, err);
    pipeline->publisher_started = status == SH_OK;
    return status;
}

void sh_pipeline_stop(ShEngine *engine)
{
    ShPipeline *pipeline = &engine->pipeline;
    pthread_mutex_lock(&pipeline->lock);
    pipeline->stopping = true;
    pthread_cond_broadcast(&pipeline->changed);
    pthread_mutex_unlock(&pipeline->lock);
    for (size_t i = 0; i < pipeline->uploader_count; i++)
        pthread_join(pipeline->uploaders[i], NULL);
    if (pipeline->publisher_started) {
        sh_pg_cancel(pipeline->publish_pg);
        pthread_join(pipeline->publisher, NULL);
        pipeline->publisher_started = false;
    }
    sh_pg_free(pipeline->publish_pg);
    pipeline->publish_pg = NULL;
    pipeline->uploader_count = 0;
}

void sh_pipeline_destroy(ShPipeline *pipeline)
{
    while (pipeline->first != NULL)
        sh_pipeline_finish_first(pipeline);
    free(pipeline->uploaders);
    pthread_cond_destroy(&pipeline->changed);
    pthread_mutex_destroy(&pipeline->lock);
}

bool sh_pipeline_wait_room(ShPipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    while (pipeline->count >= pipeline->count_max && !pipeline->stopping)
        sh_cond_wait_ms(&pipeline->changed, &pipeline->lock, PIPELINE_WAIT_MS);
    bool room = !pipeline->stopping;
    pthread_mutex_unlock(&pipeline->lock);
    return room;
}

void sh_pipeline_push(ShPipeline *pipeline, ShFlight *flight)
{
    pthread_mutex_lock(&pipeline->lock);
    if (pipeline->last != NULL)
        pipeline->last->next = flight;
    else
        pipeline->first = flight;
    pipeline->last = flight;
    pipeline->count++;
    pthread_cond_broadcast(&pipeline->changed);
    pthread_mutex_unlock(&pipeline->lock);
}

bool sh_pipeline_is_empty(ShPipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    bool empty = pipeline->first == NULL;
    pthread_mutex_unlock(&pipeline->lock);
    return empty;
}

ShFlight *sh_pipeline_take_ready(ShPipeline *pipeline)
{
    ShFlight *flight = NULL;
    pthread_mutex_lock(&pipeline->lock);
    while (!pipeline->stopping && (flight = find_ready(pipeline)) == NULL)
        sh_cond_wait_ms(&pipeline->changed, &pipeline->lock, PIPELINE_WAIT_MS);
    if (flight != NULL)
        flight->state = SH_FLIGHT_UPLOADING;
    pthread_mutex_unlock(&pipeline->lock);
    return flight;
}

void sh_pipeline_set_uploaded(ShPipeline *pipeline, ShFlight *flight)
{
    pthread_mutex_lock(&pipeline->lock);
    flight->state = SH_FLIGHT_UPLOADED;
    pthread_cond_broadcast(&pipeline->changed);
    pthread_mutex_unlock(&pipeline->lock);
}

uint64_t sh_pipeline_stored(ShPipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    uint64_t stored = pipeline->stored;
    pthread_mutex_unlock(&pipeline->lock);
    return stored;
}

void sh_pipeline_note_stored(ShPipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline->stored++;
    pthread_cond_broadcast(&pipeline->changed);
    pthread_mutex_unlock(&pipeline->lock);
}

bool sh_pipeline_pause(ShPipeline *pipeline, uint64_t stored, int64_t ms)
{
    int64_t until_ms = sh_clock_now_ms() + ms;
    pthread_mutex_lock(&pipeline->lock);
    while (!pipeline->stopping && pipeline->stored == stored && sh_clock_now_ms() < until_ms)
        sh_cond_wait_ms(&pipeline->changed, &pipeline->lock, until_ms - sh_clock_now_ms());
    bool goes_on = !pipeline->stopping;
    pthread_mutex_unlock(&pipeline->lock);
    return goes_on;
}

ShFlight *sh_pipeline_wait_uploaded(ShPipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    while (!pipeline->stopping && (pipeline->first == NULL || pipeline->first->state != SH_FLIGHT_UPLOADED))
        sh_cond_wait_ms(&pipeline->changed, &pipeline->lock, PIPELINE_WAIT_MS);
    ShFlight *flight = pipeline->stopping ? NULL : pipeline->first;
    pthread_mutex_unlock(&pipeline->lock);
    return flight;
}

void sh_pipeline_finish_first(ShPipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    ShFlight *flight = pipeline->first;
    pipeline->first = flight->next;
    if (pipeline->first == NULL)
        pipeline->last = NULL;
    pipeline->count--;
    pipeline->confirmed_no = flight->id.publish_no;
    pthread_cond_broadcast(&pipeline->changed);
    pthread_mutex_unlock(&pipeline->lock);
    sh_flight_free(flight);
}

static ShFlight *find_ready(const ShPipeline *pipeline)
{
    for (ShFlight *flight = pipeline->first; flight != NULL; flight = flight->next)
        if (flight->state == SH_FLIGHT_READY)
            return flight;
    return NULL;
}
