#pragma once
// OpenMP reads its settings from the environment before main() runs.

namespace macadam {

/// Begins the program anew, once, under the settings of OpenMP that it wants and the user has not
/// chosen (docs/decisions/runs.md): threads that wait sleep soon rather than spin, and there are as
/// many as usable_cores(). Returns where nothing is to be set or the program cannot be begun anew;
/// the number of threads holds even then. Call before any thread or file exists.
void restart_with_openmp_settings(char** argv);

}  // namespace macadam
