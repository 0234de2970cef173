#include <fstream>
#include <string>

#include "kernels/cpu/cpu_ops.h"

namespace macadam::cpu {

namespace {

bool is_intel() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

}  // namespace

bool has_bf16() {
#if defined(MACADAM_HAS_ONEDNN)
  return library_isa().bf16;
#else
  return true;
#endif
}

bool has_fast_bf16() {
#if defined(MACADAM_HAS_ONEDNN)
  return is_fast_bf16(library_isa(), is_intel());
#else
  return false;
#endif
}

bool is_fast_bf16(const LibraryIsa& isa, bool intel) {
  return isa.amx_bf16 || (isa.avx512_bf16 && !intel);
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
