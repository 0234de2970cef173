#pragma once
// Included ahead of each CUDA source when it is compiled for the block emulator: its namespace
// macadam::cuda becomes macadam::emulated, so that a program can hold both. The shared headers come
// first and keep their names.

#include "block_emulator.h"
#include "kernels/ops.h"

#define cuda emulated
