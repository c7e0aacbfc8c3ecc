/* bench_swaps.h - `weir bench swaps`: how long a loop stands still when the configuration is exchanged. */
#ifndef CMD_BENCH_SWAPS_H
#define CMD_BENCH_SWAPS_H

int cmd_bench_swaps(int argc, char **argv);

#endif
