// A file of TensorBoard's events that a run goes on with: what is sound of it is found, in its
// order, and nothing else.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "run/tracking/event_file.h"

/// The first byte chooses: the rest is a file, or, as the mutations of a fuzzer rarely hit a
/// checksum, a record of one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 != 0) {
    if (read_event_head(rest).tag.size() > rest.size()) std::abort();
    return 0;
  }
  size_t place = 0;
  for (const std::string& record : read_records(rest)) {
    constexpr size_t kBefore = 12, kBehind = 4;  // length and its checksum; that of the record
    if (rest.substr(place + kBefore, record.size()) != record) std::abort();
    place += kBefore + record.size() + kBehind;
    if (place > rest.size()) std::abort();
    read_event_head(record);
  }
  return 0;
}
