/* log.h - a file of lines that many threads write without waiting for the disk. */
#ifndef OS_LOG_H
#define OS_LOG_H

#include "base/buf.h"
#include "base/status.h"

/*
 * One thread of its own writes; everybody else hands it whole buffers. Nothing is dropped: when more
 * than LOG_AHEAD_MAX bytes wait, whoever hands over waits too, since a line of this log is a
 * receipt. Lines of one writer keep their order.
 */
struct log;

enum { LOG_AHEAD_MAX = 64 << 20 };

/* `path` is appended to; "-" is standard output. A pipe needs its reader: without one it is refused. */
enum status log_open(const char *path, struct log **out, struct problem *why) MUST_USE;

/* Hands over the buffer's bytes, and with them its memory: `lines` is empty after. Any thread. */
void log_write(struct log *l, struct buf *lines);

/* Opens the file anew after what was handed over so far, for whoever renames logs. Any thread. */
void log_reopen(struct log *l);

/* Writes everything out and closes, but waits no longer than 5 s for a pipe whose reader takes nothing.
 * No log_write may follow. NULL is fine. */
void log_close(struct log *l);

#endif
