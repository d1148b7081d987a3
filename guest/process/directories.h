/* Make the directories of a path. */
#ifndef CAPSA_PROCESS_DIRECTORIES_H
#define CAPSA_PROCESS_DIRECTORIES_H

/* Make every missing directory of `path` (mode 0755), the last component too. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int directories__make(const char *path);
/* Those above the last component. */
__attribute__((warn_unused_result)) int directories__make_above(const char *path);

#endif
