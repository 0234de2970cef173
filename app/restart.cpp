#include "app/restart.h"

#include <omp.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/cores.h"

namespace macadam {

namespace {

constexpr const char* kSpins = "10000";  // 0.1 to 0.5 milliseconds

bool is_set(const char* name) { return std::getenv(name) != nullptr; }

/// Whether the kernel began this program itself. If the dynamic loader did, called by name, then
/// /proc/self/exe is the loader.
bool begun_by_kernel() { return getauxval(AT_BASE) != 0; }

}  // namespace

void restart_with_openmp_settings(char** argv) {
  bool changed = false;
  const auto set = [&](const char* name, const std::string& value) {
    changed |= setenv(name, value.c_str(), 0) == 0;
  };
  if (!is_set("OMP_WAIT_POLICY") && !is_set("GOMP_SPINCOUNT") && !is_set("KMP_BLOCKTIME")) {
    set("OMP_WAIT_POLICY", "PASSIVE");
    set("GOMP_SPINCOUNT", kSpins);
  }
  if (!is_set("OMP_NUM_THREADS") && usable_cores() < omp_get_num_procs()) {
    set("OMP_NUM_THREADS", std::to_string(usable_cores()));
    omp_set_num_threads(usable_cores());  // should it not begin anew
  }
  if (!changed || !begun_by_kernel()) return;
  // By its own name, so that `ps` shows that; the link itself stands for a file deleted since.
  std::error_code unknown;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (!unknown) execv(program.c_str(), argv);
  execv("/proc/self/exe", argv);
}

}  // namespace macadam
