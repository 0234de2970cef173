#include <fstream>
#include <string>

#include "kernels/cpu/cpu_ops.h"

namespace macadam::cpu {

bool has_bf16() {
#if defined(MACADAM_HAS_ONEDNN)
  return library_isa().bf16;
#else
  return true;
#endif
}

bool has_fast_bf16() {
#if defined(MACADAM_HAS_ONEDNN)
  return library_isa().fast_bf16;
#else
  return false;
#endif
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string text;
  for (std::string line; std::getline(info, line) && !line.empty();) {  // the first core's
    for (const char* key : {"vendor_id", "cpu family", "model", "stepping", "microcode", "flags"}) {
      if (line.starts_with(key)) text += line.substr(line.find(':') + 1);
    }
  }
  return text;
}

}  // namespace macadam::cpu
