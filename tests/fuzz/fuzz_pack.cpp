// A pack from anywhere: reading its index ends with a sound one or with an InputError.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "base/error.h"
#include "loader/pack_format.h"
#include "loader/run_length.h"

namespace {

/// As the mutations of a fuzzer rarely hit a checksum: a sound header, some bytes of records and
/// `index` as the index.
std::vector<uint8_t> with_header(std::span<const uint8_t> index) {
  constexpr uint64_t kRecords = 256;
  const uint64_t offset = macadam::kPackHeaderSize + kRecords;
  std::vector<uint8_t> pack = macadam::encode_pack_header(index, offset);
  pack.resize(offset, 1);
  pack.insert(pack.end(), index.begin(), index.end());
  return pack;
}

}  // namespace

/// The first byte chooses: the rest is a file, or the index of one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace macadam;
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  std::vector<uint8_t> pack(rest.begin(), rest.end());
  if (data[0] % 4 != 0) pack = with_header(rest);
  try {
    const PackIndex index = parse_pack(pack, "pack");
    for (const PackSplit& split : index.splits) {
      for (const PackRecord& record : split.records) {
        const uint64_t labels_end = record.offset + record.photo_size + record.labels_size;
        if (labels_end > pack.size()) std::abort();
        const uint64_t pixels = uint64_t{record.height} * record.width;
        if (index.labels != LabelCoding::runs || pixels > 1 << 20) continue;
        std::vector<uint8_t> labels(pixels);
        decode_runs(std::span(pack).subspan(record.offset + record.photo_size, record.labels_size),
                    labels);
      }
    }
    // What parses is written in a form that parses to the same.
    const std::vector<uint8_t> again = encode_pack_index(index);
    if (encode_pack_index(parse_pack(with_header(again), "again")) != again) std::abort();
  } catch (const InputError&) {
    // A named refusal is the expected answer to a damaged file.
  }
  return 0;
}
