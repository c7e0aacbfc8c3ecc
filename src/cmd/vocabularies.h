/* vocabularies.h - tokenizer.json files from the disk, as vocabularies to count with. */
#ifndef CMD_VOCABULARIES_H
#define CMD_VOCABULARIES_H

#include <pthread.h>
#include <sys/stat.h>

#include "model/snapshot.h"
#include "tokens/vocabulary_set.h"

/*
 * Reads and compiles a tokenizer.json into `block` (made here; the caller's to destroy, whatever comes
 * back) and opens it. `why` names file, line, member and cure. Takes up to a second; any thread.
 */
enum status vocabulary_file_read(const char *path, struct buf *block, struct vocabulary *out,
                                 struct problem *why) MUST_USE;

/*
 * The files that models name, read once as long as they stay what they are. A zeroed struct with an
 * initialized lock is ready. Any thread may check and load; none waits while another reads.
 */
struct vocabulary_files {
    pthread_mutex_t lock; /* guards the rest, for moments: a reload and a change may load at once */
    struct vocabulary_file {
        char *path;                           /* owned */
        struct stat stamp;                    /* before it was read */
        struct shared_vocabulary *vocabulary; /* one reference */
        int n_claims;  /* of changes that were checked by it and are under way */
        bool is_named; /* by the catalog that was loaded last */
    } * files;         /* owned */
    size_t n;
    bool has_loaded; /* before, what was checked waits for the first load */
};

void vocabulary_files_destroy(struct vocabulary_files *f);

/*
 * Whether the file can be used; `why` as above. One that can is what vocabulary_files_load takes for this
 * path, even when the file has changed since, until each such check has been released.
 */
enum status vocabulary_files_check(struct vocabulary_files *f, struct str path,
                                   struct problem *why) MUST_USE;
void vocabulary_files_release(struct vocabulary_files *f, struct str path);

/*
 * The vocabularies of all models of the catalog that name a tokenizer, by path; NULL when none does.
 * With `must` a file that cannot be used fails, with file, line and cure in `why`; else it is told on
 * stderr, and the model's prompts are estimated. Not for a loop: it reads files.
 */
enum status vocabulary_files_load(struct vocabulary_files *f, const struct catalog *c, bool must,
                                  struct vocabulary_set **out, struct problem *why) MUST_USE;

#endif
