/* The sandbox's main process: started once, its output told as events, its end the sandbox's. */
#ifndef CAPSA_INIT_MAIN_PROCESS_H
#define CAPSA_INIT_MAIN_PROCESS_H

#include <stdbool.h>

#include "init/events.h"
#include "init/plan.h"
#include "process/output.h"

struct main_process {
	struct events *events;
	pid_t pid; /* 0: never started */
	int status;
	bool ended, told; /* its end; that its end was told, after the last of its output */
	struct output outputs[2];
	struct loop *loop;
	uint64_t grace; /* timer; 0: none */
};

/* Returns 0 or -errno with words; `process` is zeroed first. */
__attribute__((warn_unused_result)) int main_process__start(struct main_process *process, struct loop *loop,
							    struct events *events, const struct plan *plan,
							    char *message, size_t size);
/* It ended, with a wait(2) status. */
void main_process__ended(struct main_process *process, int status);
/* Await more output if the host can take it, and tell the end once all was passed on. */
void main_process__settle(struct main_process *process);

#endif
