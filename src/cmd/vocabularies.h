/* vocabularies.h - tokenizer.json files from the disk, as vocabularies to count with. */
#ifndef CMD_VOCABULARIES_H
#define CMD_VOCABULARIES_H

#include "tokens/vocabulary.h"

/*
 * Reads and compiles a tokenizer.json into `block` (made here; the caller's to destroy, whatever comes
 * back) and opens it. `why` names file, line, member and cure. Takes up to a second; any thread.
 */
enum status vocabulary_file_read(const char *path, struct buf *block, struct vocabulary *out,
                                 struct problem *why) MUST_USE;

#endif
