// Weight files of other tools: parsing ends with arrays inside the bytes that can be read, or with
// an InputError, and nothing else. HDF5 is left out: libhdf5 reads it.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "models/weights/mapped_weights.h"
#include "models/weights/numpy_file.h"
#include "models/weights/torch_file.h"

namespace {

using macadam::NamedArray;

constexpr int64_t kMostElements = 1 << 22;  // what a fuzzer's input may take of memory

void read_all(std::span<const NamedArray> arrays) {
  for (const NamedArray& named : arrays) {
    const int64_t count = macadam::elements(named.array.shape);
    if (count > kMostElements) continue;
    std::vector<float> values(macadam::to_size(count));
    macadam::read_array(named.array, values);
    const auto view = macadam::view_array(named.array);
    const auto same_bits = [](float a, float b) {
      return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
    };
    if (view && !std::ranges::equal(*view, values, same_bits)) std::abort();
  }
}

void append_number(std::string& text, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
}

/// A file of torch.save before 1.6 around `object` (a pickle without its first two bytes); data for
/// a storage called "0" follows.
std::string legacy_file(const std::string& object) {
  const std::string begin = "\x80\x02";
  std::string file = begin + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
  file += begin + "M\xe9\x03." + begin + "}." + begin + object + begin + "]X\x01";
  file += std::string(3, '\0') + "0a.";
  append_number(file, 4, 8);
  return file + std::string(32, '\x3f');
}

}  // namespace

/// The first byte chooses: the rest is a file; or the object of a PyTorch file; or an .npy file
/// without its signature.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    if (data[0] % 3 == 0) {
      read_all(macadam::parse_weights(std::as_bytes(std::span(rest)), "fuzz").arrays);
    } else if (data[0] % 3 == 1) {
      const std::string file = legacy_file(rest);
      read_all(macadam::read_torch_legacy(std::as_bytes(std::span(file)), "fuzz"));
    } else {
      const std::string file = "\x93NUMPY" + rest;
      const std::vector<NamedArray> arrays{
          {"w", macadam::read_npy(std::as_bytes(std::span(file)), "fuzz")}};
      read_all(arrays);
    }
  } catch (const macadam::InputError&) {
  }
  return 0;
}
