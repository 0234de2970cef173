// A file that divides a data set, from anywhere: it is read, or refused by an InputError.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "loader/split_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  try {
    const SplitFile file =
        parse_split_file({reinterpret_cast<const char*>(data), size}, "/divided.toml");
    std::set<std::pair<std::string, std::string>> seen;
    for (const auto& [name, entries] : file.splits) {
      if (entries.empty()) std::abort();
      for (const SplitEntry& entry : entries) {
        if (entry.id.empty() || !seen.emplace(entry.split, entry.id).second) std::abort();
      }
    }
  } catch (const InputError&) {
    // A named refusal is the expected answer.
  }
  return 0;
}
